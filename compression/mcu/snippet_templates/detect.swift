// Decode the outputs of @{file_name} into objects: boxes in pixels of its input, labels and scores.
// SHA-256 of the file: @{sha256}

import Foundation

struct DetectedObject {
    var x1, y1, x2, y2: Float  // pixels of the input, @{columns} wide and @{rows} high
    var score: Float
    var label: String
}

enum Detect {
    private static let labels: [String] = [@{labels}]
    private static let levels: [(stride: Int, rows: Int, columns: Int, sizes: [(Float, Float)])] = [@{swift_levels}]

    /// Returns the objects with a score of at least `least`, best first. Give it the outputs "boxes" and "scores".
    static func objects(boxes: [Float], logits: [Float], least: Float = 0.3) -> [DetectedObject] {
        var candidates: [DetectedObject] = []
        var place = 0
        for level in levels {
            for row in 0..<level.rows {
                for column in 0..<level.columns {
                    for (width, height) in level.sizes {
                        let raw = Array(boxes[4 * place..<4 * place + 4])
                        for label in labels.indices {
                            let score = 1 / (1 + exp(-logits[labels.count * place + label]))
                            if score < least { continue }
                            var x = (Float(column) + 0.5) * Float(level.stride)
                            var y = (Float(row) + 0.5) * Float(level.stride)
                            @{swift_decode}
                            candidates.append(DetectedObject(
                                x1: min(max(x1, 0), @{columns}), y1: min(max(y1, 0), @{rows}),
                                x2: min(max(x2, 0), @{columns}), y2: min(max(y2, 0), @{rows}),
                                score: score, label: labels[label]))
                        }
                        place += 1
                    }
                }
            }
        }
        var kept: [DetectedObject] = []
        for one in candidates.sorted(by: { $0.score > $1.score }).prefix(@{candidates}) {
            if kept.count == @{most} { break }
            if !kept.contains(where: { $0.label == one.label && overlap($0, one) > @{overlap} }) { kept.append(one) }
        }
        return kept
    }

    private static func overlap(_ a: DetectedObject, _ b: DetectedObject) -> Float {
        let shared = max(min(a.x2, b.x2) - max(a.x1, b.x1), 0) * max(min(a.y2, b.y2) - max(a.y1, b.y1), 0)
        let both = (a.x2 - a.x1) * (a.y2 - a.y1) + (b.x2 - b.x1) * (b.y2 - b.y1) - shared
        return shared / max(both, 1e-9)
    }
}
