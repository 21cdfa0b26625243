/* Features of sound in whole numbers: @{kind}, @{frames} frames of @{columns} values, from @{samples} samples at @{rate} Hz.
 * Written by compression.export. The same as compression/on_device/features.py, integer for integer. */
#ifndef FEATURES_H_
#define FEATURES_H_

#include <stdint.h>

#define FEATURES_SAMPLES @{samples}
#define FEATURES_FRAMES @{frames}
#define FEATURES_COLUMNS @{columns}
#define FEATURES_RATE @{rate}

#ifdef __cplusplus
extern "C" {
#endif

/* Computes the input of the file, FEATURES_FRAMES * FEATURES_COLUMNS values, of FEATURES_SAMPLES samples. */
void features(const int16_t *samples, int8_t *values);

#ifdef __cplusplus
}
#endif

#endif
