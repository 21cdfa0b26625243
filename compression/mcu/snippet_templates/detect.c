/* Decode the outputs of @{file_name} into objects: boxes in pixels of its input, labels and scores.
 *
 * Give it the outputs "boxes" and "scores" as floats: (value - zero point) * scale for integers. It needs <math.h> and
 * about @{bytes} bytes of memory, and allocates nothing. SHA-256 of the file: @{sha256}
 */
#include <math.h>

#define DETECT_CLASSES @{classes}
#define DETECT_CANDIDATES @{candidates}
#define DETECT_MOST @{most}

typedef struct {
  float x1, y1, x2, y2; /* pixels of the input, @{columns} wide and @{rows} high */
  float score;
  int label;
} DetectedObject;

const char *const detect_labels[DETECT_CLASSES] = {@{labels}};

static const struct {
  int stride, rows, columns, first, sizes;
} detect_levels[] = {@{levels}};
static const float detect_sizes[][2] = {@{sizes}};

static DetectedObject detect_candidates[DETECT_CANDIDATES];

static float detect_clipped(float value, float most) { return value < 0 ? 0 : value > most ? most : value; }

static float detect_overlap(const DetectedObject *a, const DetectedObject *b) {
  const float width = fminf(a->x2, b->x2) - fmaxf(a->x1, b->x1);
  const float height = fminf(a->y2, b->y2) - fmaxf(a->y1, b->y1);
  const float shared = fmaxf(width, 0) * fmaxf(height, 0);
  const float both = (a->x2 - a->x1) * (a->y2 - a->y1) + (b->x2 - b->x1) * (b->y2 - b->y1) - shared;
  return shared / fmaxf(both, 1e-9f);
}

/* Find objects with a score of at least `least`, best first; returns their number, at most DETECT_MOST. */
int detect(const float *boxes, const float *logits, float least, DetectedObject *found) {
  int place = 0, count = 0, kept = 0;
  for (unsigned level = 0; level < sizeof(detect_levels) / sizeof(detect_levels[0]); level++) {
    const int stride = detect_levels[level].stride;
    for (int row = 0; row < detect_levels[level].rows; row++) {
      for (int column = 0; column < detect_levels[level].columns; column++) {
        for (int size = 0; size < detect_levels[level].sizes; size++, place++) {
          const float *raw = boxes + 4 * place;
          const float width = detect_sizes[detect_levels[level].first + size][0];
          const float height = detect_sizes[detect_levels[level].first + size][1];
          for (int label = 0; label < DETECT_CLASSES; label++) {
            DetectedObject one;
            float x = (column + 0.5f) * stride, y = (row + 0.5f) * stride;
            int at;
            one.score = 1 / (1 + expf(-logits[DETECT_CLASSES * place + label]));
            if (one.score < least) continue;
            if (count == DETECT_CANDIDATES && one.score <= detect_candidates[count - 1].score) continue;
            @{c_decode}
            one.x1 = detect_clipped(one.x1, @{columns});
            one.x2 = detect_clipped(one.x2, @{columns});
            one.y1 = detect_clipped(one.y1, @{rows});
            one.y2 = detect_clipped(one.y2, @{rows});
            one.label = label;
            if (count < DETECT_CANDIDATES) count++;
            for (at = count - 1; at > 0 && detect_candidates[at - 1].score < one.score; at--) {
              detect_candidates[at] = detect_candidates[at - 1];
            }
            detect_candidates[at] = one;
          }
        }
      }
    }
  }
  for (int i = 0; i < count && kept < DETECT_MOST; i++) {
    int better = 0;
    for (int j = 0; j < kept && !better; j++) {
      better = found[j].label == detect_candidates[i].label &&
               detect_overlap(&found[j], &detect_candidates[i]) > @{overlap}f;
    }
    if (!better) found[kept++] = detect_candidates[i];
  }
  return kept;
}
