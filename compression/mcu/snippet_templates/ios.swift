// Runs @{file} on iOS; made by python -m compression.snippets.
// SHA-256 of the file: @{sha256}
//
// In the Podfile: pod 'TensorFlowLiteSwift', '~> 2.14'
// The file is a resource of the app.
//
// input  @{input}
// output @{output}

import Foundation
import TensorFlowLite

final class @{type} {
    private let runner: SignatureRunner

    init() throws {
        guard let path = Bundle.main.path(forResource: @{stem}, ofType: @{extension}) else {
            throw CocoaError(.fileNoSuchFile)
        }
        runner = try Interpreter(modelPath: path).signatureRunner(with: @{signature})
    }

    /// Takes @{input_elements} values in the order of @{input_shape}, gives @{output_elements} of @{output_shape}.
    func run(_ values: [@{swift_given}]) throws -> [@{swift_made}] {
        precondition(values.count == @{input_elements}, "expected @{input_elements} values, received \(values.count)")
        let given: [@{swift_in}] = @{swift_write}
        try runner.invoke(with: [@{input_name}: given.withUnsafeBufferPointer { Data(buffer: $0) }])
        let made = try runner.output(named: @{output_name}).data
        return made.withUnsafeBytes { bytes in
            bytes.bindMemory(to: @{swift_out}.self).map { @{swift_read} }
        }
    }
}
