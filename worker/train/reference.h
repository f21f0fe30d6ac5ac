/* The layers' mathematics in double and in plain loops, for tests to compare with. */
#ifndef WORKER_TRAIN_REFERENCE_H
#define WORKER_TRAIN_REFERENCE_H

#include "worker/train/layer.h"

/* One of a convolution's three arrays, [rows][in], [out.c][size][size][in.c] and
 * [rows][out]: the result is the sum of the products of the other two, wherever the
 * window brings them together. So y is the convolution, and with gradients in the place
 * of values dx and dweight are its derivatives. */
enum reference_target { REFERENCE_X, REFERENCE_WEIGHT, REFERENCE_Y };

/* magnitude, unless NULL: the sum of the products' absolute values. */
void reference_conv(const struct device_slide *s, enum reference_target target,
                    const double *x, const double *weight, const double *y,
                    double *result, double *magnitude);

/* Of each element of y the place in x of the first that is the largest. */
void reference_max_pool(const struct device_slide *s, const double *x, size_t *places);

/* The mean and the biased variance of one channel of x [n][channels]. */
void reference_moments(size_t n, size_t channels, const double *x, double *mean,
                       double *variance);

/* y of one layer from its inputs x, of a batch whose own x is not read; values are the
 * model's parameters, and state what it evaluates by: NULL in training. */
void reference_layer(const struct layer *l, const double *values, const float *state,
                     const struct batch *b, const double *const x[], double *y);

/* n numbers in [-1, 1), others for each `which`. free() them. */
float *reference_numbers(size_t n, uint32_t which);
double *reference_widen(const float *v, size_t n); /* free() it */
void reference_poison(float *v, size_t n);         /* NaN: each is to be written */

#endif
