// Runs @{file} with TFLite Micro; made by python -m compression.snippets.
// @{name}.h and @{name}.c are made by python -m compression.to_c.
//
// input  @{input}
// output @{output}

#include "@{name}.h"

#include <cstddef>
#include <cstdint>

#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_log.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/micro/system_setup.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace {
// Begin with plenty; what is printed below says to what it may be cut on this device.
constexpr size_t kArenaBytes = @{macro}_ARENA_AT_LEAST + 16 * 1024;
alignas(16) uint8_t arena[kArenaBytes];
}  // namespace

int main() {
  tflite::InitializeTarget();
  static tflite::MicroMutableOpResolver<@{macro}_OPERATORS> resolver;
  if (!@{macro}_ADD_OPERATORS(resolver)) return 1;
  static tflite::MicroInterpreter interpreter(tflite::GetModel(@{name}_tflite), resolver, arena, kArenaBytes);
  if (interpreter.AllocateTensors() != kTfLiteOk) return 1;
  MicroPrintf("%d bytes of the arena are used", static_cast<int>(interpreter.arena_used_bytes()));

  TfLiteTensor* input = interpreter.input(0);
  TfLiteTensor* output = interpreter.output(0);
  if (input->type != @{macro}_INPUT_0_TYPE || output->type != @{macro}_OUTPUT_0_TYPE) return 1;
  for (int i = 0; i < @{macro}_INPUT_0_ELEMENTS; ++i) {
    input->data.@{c_in}[i] = 0;  // your values, as the comment above says what they stand for
  }
  if (interpreter.Invoke() != kTfLiteOk) return 1;

  int best = 0;
  for (int i = 1; i < @{macro}_OUTPUT_0_ELEMENTS; ++i) {
    if (output->data.@{c_out}[i] > output->data.@{c_out}[best]) best = i;
  }
  MicroPrintf("%s: the largest is number %d", @{macro}_OUTPUT_0_NAME, best);
  return 0;
}
