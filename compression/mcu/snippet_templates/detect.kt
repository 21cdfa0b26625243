// Decode the outputs of @{file_name} into objects: boxes in pixels of its input, labels and scores.
// SHA-256 of the file: @{sha256}

import kotlin.math.exp
import kotlin.math.max
import kotlin.math.min

data class DetectedObject(
    val x1: Float, val y1: Float, val x2: Float, val y2: Float,  // pixels of the input, @{columns} wide and @{rows} high
    val score: Float, val label: String,
)

object Detect {
    private class Level(val stride: Int, val rows: Int, val columns: Int, val sizes: List<Pair<Float, Float>>)

    private val labels = listOf(@{labels})
    private val levels = listOf(@{kotlin_levels})

    /** Returns the objects with a score of at least [least], best first. Give it the outputs "boxes" and "scores". */
    fun objects(boxes: FloatArray, logits: FloatArray, least: Float = 0.3f): List<DetectedObject> {
        val candidates = mutableListOf<DetectedObject>()
        var place = 0
        for (level in levels) for (row in 0 until level.rows) for (column in 0 until level.columns) {
            for ((width, height) in level.sizes) {
                val raw = FloatArray(4) { boxes[4 * place + it] }
                for (label in labels.indices) {
                    val score = 1 / (1 + exp(-logits[labels.size * place + label]))
                    if (score < least) continue
                    var x = (column + 0.5f) * level.stride
                    var y = (row + 0.5f) * level.stride
                    @{kotlin_decode}
                    candidates += DetectedObject(
                        x1.coerceIn(0f, @{columns}f), y1.coerceIn(0f, @{rows}f),
                        x2.coerceIn(0f, @{columns}f), y2.coerceIn(0f, @{rows}f), score, labels[label],
                    )
                }
                place++
            }
        }
        val kept = mutableListOf<DetectedObject>()
        for (one in candidates.sortedByDescending { it.score }.take(@{candidates})) {
            if (kept.size == @{most}) break
            if (kept.none { it.label == one.label && overlap(it, one) > @{overlap}f }) kept += one
        }
        return kept
    }

    private fun overlap(a: DetectedObject, b: DetectedObject): Float {
        val shared = max(min(a.x2, b.x2) - max(a.x1, b.x1), 0f) * max(min(a.y2, b.y2) - max(a.y1, b.y1), 0f)
        val both = (a.x2 - a.x1) * (a.y2 - a.y1) + (b.x2 - b.x1) * (b.y2 - b.y1) - shared
        return shared / max(both, 1e-9f)
    }
}
