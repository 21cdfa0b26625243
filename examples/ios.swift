// Runs "lenet5-10144.tflite" on iOS; made by python -m compression.snippets.
// SHA-256 of the file: 948e987f7521100e8e8179d7afc3d01d036d5f09bc6e02ea0317061067d60d67
//
// In the Podfile: pod 'TensorFlowLiteSwift', '~> 2.14'
// The file is a resource of the app.
//
// input  "image": int8 [1, 28, 28, 1], which stands for 0.00392156886 * (value + 128)
// output "probabilities": int8 [1, 10], which stands for 0.00390625 * (value + 128)

import Foundation
import TensorFlowLite

final class Lenet510144 {
    private let runner: SignatureRunner

    init() throws {
        guard let path = Bundle.main.path(forResource: "lenet5-10144", ofType: "tflite") else {
            throw CocoaError(.fileNoSuchFile)
        }
        runner = try Interpreter(modelPath: path).signatureRunner(with: "serving_default")
    }

    /// Takes 784 values in the order of [1, 28, 28, 1], gives 10 of [1, 10].
    func run(_ values: [Float]) throws -> [Float] {
        precondition(values.count == 784, "expected 784 values, received \(values.count)")
        let given: [Int8] = values.map { value in
            Int8(max(-128, min(127, (value / 0.00392156886 + (-128)).rounded())))
        }
        try runner.invoke(with: ["image": given.withUnsafeBufferPointer { Data(buffer: $0) }])
        let made = try runner.output(named: "probabilities").data
        return made.withUnsafeBytes { bytes in
            bytes.bindMemory(to: Int8.self).map { (Float($0) - (-128)) * 0.00390625 }
        }
    }
}
