// Runs @{file} on Android; made by python -m compression.snippets.
// SHA-256 of the file: @{sha256}
//
// In build.gradle.kts: implementation("com.google.ai.edge.litert:litert:2.3.0")
// The file lies in src/main/assets.
//
// input  @{input}
// output @{output}

import android.content.res.AssetManager
import com.google.ai.edge.litert.Accelerator
import com.google.ai.edge.litert.CompiledModel
@{kotlin_imports}
class @{type}(assets: AssetManager) : AutoCloseable {
    private val model = CompiledModel.create(assets, @{file}, CompiledModel.Options(Accelerator.CPU))
    private val input = model.createInputBuffer(@{input_name}, @{signature})
    private val output = model.createOutputBuffer(@{output_name}, @{signature})

    /** Takes @{input_elements} values in the order of @{input_shape}, gives @{output_elements} of @{output_shape}. */
    fun run(values: @{kotlin_given}): @{kotlin_made} {
        require(values.size == @{input_elements}) { "expected @{input_elements} values, received ${values.size}" }
        @{kotlin_write}
        model.run(mapOf(@{input_name} to input), mapOf(@{output_name} to output), @{signature})
        @{kotlin_read}
    }

    override fun close() {
        input.close()
        output.close()
        model.close()
    }
}
