// Runs "lenet5-10144.tflite" on Android; made by python -m compression.snippets.
// SHA-256 of the file: 948e987f7521100e8e8179d7afc3d01d036d5f09bc6e02ea0317061067d60d67
//
// In build.gradle.kts: implementation("com.google.ai.edge.litert:litert:2.3.0")
// The file lies in src/main/assets.
//
// input  "image": int8 [1, 28, 28, 1], which stands for 0.00392156886 * (value + 128)
// output "probabilities": int8 [1, 10], which stands for 0.00390625 * (value + 128)

import android.content.res.AssetManager
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel
import kotlin.math.roundToInt

class Lenet510144(assets: AssetManager) : AutoCloseable {
    private val model = CompiledModel.create(assets, "lenet5-10144.tflite", CompiledModel.Options(Accelerator.CPU))
    private val input = model.createInputBuffer("image", "serving_default")
    private val output = model.createOutputBuffer("probabilities", "serving_default")

    /** Takes 784 values in the order of [1, 28, 28, 1], gives 10 of [1, 10]. */
    fun run(values: FloatArray): FloatArray {
        require(values.size == 784) { "expected 784 values, received ${values.size}" }
        input.writeInt8(ByteArray(values.size) { i ->
            (values[i] / 0.00392156886f + (-128)).roundToInt().coerceIn(-128, 127).toByte()
        })
        model.run(mapOf("image" to input), mapOf("probabilities" to output), "serving_default")
        return output.readInt8().map { (it - (-128)) * 0.00390625f }.toFloatArray()
    }

    override fun close() {
        input.close()
        output.close()
        model.close()
    }
}
