/* Features of sound in whole numbers. Written by compression.export; see features.h. */
#include "features.h"

enum { FRAME = @{frame}, HOP = @{hop}, POINTS = @{points}, FIRST = @{first}, BINS = @{bins}, MELS = @{mels} };

/* Hann window, cosine of a turn, mel weights and logarithm between powers of two; Q15, and Q16 for the logarithm. */
static const int32_t kWindow[FRAME] = {@{window}};
static const int32_t kTurns[POINTS] = {@{turns}};
/* Of each mel band the first bin and the number of bins, counted from FIRST; then all weights. */
static const uint16_t kBands[MELS][2] = {@{bands}};
static const uint16_t kWeights[] = {@{weights}};
static const int32_t kLogarithms[@{log_steps} + 1] = {@{logarithms}};
@{cosines}
/* Shifts that round down, also of negative numbers. */
static int64_t shifted(int64_t value, int bits) {
    int64_t step = (int64_t)1 << bits;
    return value >= 0 ? value / step : -((-value + step - 1) / step);
}

/* The whole square root, rounded down. */
static int64_t root(uint64_t value) {
    uint64_t found = 0, bit = (uint64_t)1 << 62;
    while (bit > value) bit >>= 2;
    for (; bit; bit >>= 2) {
        if (value >= found + bit) {
            value -= found + bit;
            found = (found >> 1) + bit;
        } else {
            found >>= 1;
        }
    }
    return (int64_t)found;
}

/* The natural logarithm in Q16 of a number in Q@{unit}. */
static int64_t logarithm(int64_t value) {
    int power = 0;
    int64_t rest, between, low;
    while (value >> power > 1) ++power;
    rest = (power > 30 ? value >> (power - 30) : value << (30 - power)) - ((int64_t)1 << 30);
    between = rest & (((int64_t)1 << (30 - @{table_bits})) - 1);
    low = kLogarithms[rest >> (30 - @{table_bits})];
    low += shifted((kLogarithms[(rest >> (30 - @{table_bits})) + 1] - low) * between, 30 - @{table_bits});
    return shifted((((int64_t)power - @{unit}) * 65536 + low) * @{ln2}, 16);
}

static int8_t quantized(int64_t value) {
    int64_t found = shifted(value * @{factor} + ((int64_t)1 << (@{scaled} + 15)), @{scaled} + 16) + (@{zero_point});
    return (int8_t)(found < -128 ? -128 : found > 127 ? 127 : found);
}

void features(const int16_t *samples, int8_t *values) {
    static int64_t frame[FRAME], magnitudes[BINS], bands[MELS];
    int64_t most = 1;
    int place, n, k, m;
    for (n = 0; n < FEATURES_SAMPLES; ++n) most = samples[n] > most ? samples[n] : most;
    for (place = 0; place < FEATURES_FRAMES; ++place) {
        const uint16_t *weight = kWeights;
        for (n = 0; n < FRAME; ++n) {
            int64_t sample = samples[place * HOP + n];
            if (@{peak}) {
                sample = sample < 0 ? -(-sample * 32768 / most) : sample * 32768 / most;
                sample = sample < -@{most} ? -@{most} : sample > @{most} ? @{most} : sample;
            }
            frame[n] = sample * kWindow[n];
        }
        for (k = 0; k < BINS; ++k) {
            int64_t real = 0, imaginary = 0;
            int turn = 0;
            for (n = 0; n < FRAME; ++n) {
                real += frame[n] * kTurns[turn];
                imaginary += frame[n] * kTurns[(turn + POINTS / 4) % POINTS];
                turn = (turn + FIRST + k) % POINTS;
            }
            real = shifted(real, @{shift});
            imaginary = shifted(imaginary, @{shift});
            magnitudes[k] = root((uint64_t)(real * real) + (uint64_t)(imaginary * imaginary));
        }
        for (m = 0; m < MELS; ++m) {
            int64_t sum = 0;
            for (k = 0; k < kBands[m][1]; ++k) sum += magnitudes[kBands[m][0] + k] * *weight++;
            bands[m] = logarithm(shifted(sum, 15) + @{smallest});
        }
        for (n = 0; n < FEATURES_COLUMNS; ++n) {
@{column}
        }
    }
}
