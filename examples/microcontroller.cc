// Runs "lenet5-10144.tflite" with TFLite Micro; made by python -m compression.snippets.
// lenet5_10144.h and lenet5_10144.c are made by python -m compression.to_c.
//
// input  "image": int8 [1, 28, 28, 1], which stands for 0.00392156886 * (value + 128)
// output "probabilities": int8 [1, 10], which stands for 0.00390625 * (value + 128)

#include "lenet5_10144.h"

#include <cstddef>
#include <cstdint>

#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_log.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/micro/system_setup.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace {
// Begin with plenty; what is printed below says to what it may be cut on this device.
constexpr size_t kArenaBytes = LENET5_10144_TFLITE_ARENA_AT_LEAST + 16 * 1024;
alignas(16) uint8_t arena[kArenaBytes];
}  // namespace

int main() {
  tflite::InitializeTarget();
  static tflite::MicroMutableOpResolver<LENET5_10144_TFLITE_OPERATORS> resolver;
  if (!LENET5_10144_TFLITE_ADD_OPERATORS(resolver)) return 1;
  static tflite::MicroInterpreter interpreter(tflite::GetModel(lenet5_10144_tflite), resolver, arena, kArenaBytes);
  if (interpreter.AllocateTensors() != kTfLiteOk) return 1;
  MicroPrintf("%d bytes of the arena are used", static_cast<int>(interpreter.arena_used_bytes()));

  TfLiteTensor* input = interpreter.input(0);
  TfLiteTensor* output = interpreter.output(0);
  if (input->type != LENET5_10144_TFLITE_INPUT_0_TYPE || output->type != LENET5_10144_TFLITE_OUTPUT_0_TYPE) return 1;
  for (int i = 0; i < LENET5_10144_TFLITE_INPUT_0_ELEMENTS; ++i) {
    input->data.int8[i] = 0;  // your values, as the comment above says what they stand for
  }
  if (interpreter.Invoke() != kTfLiteOk) return 1;

  int best = 0;
  for (int i = 1; i < LENET5_10144_TFLITE_OUTPUT_0_ELEMENTS; ++i) {
    if (output->data.int8[i] > output->data.int8[best]) best = i;
  }
  MicroPrintf("%s: the largest is number %d", LENET5_10144_TFLITE_OUTPUT_0_NAME, best);
  return 0;
}
