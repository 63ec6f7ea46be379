/* The C interface of every model compiled by mojoaccel.
 *
 *   maccel_session *session;
 *   if (maccel_open("model.maccel", 0, &session)) return 1;
 *   maccel_tensor in = {x, {1, 784}, 2, MACCEL_F32}, out = {0};
 *   if (maccel_run(session, &in, &out)) return 1;   // out.data: result, owned by the session
 *   maccel_close(session);
 */
#ifndef MACCEL_H
#define MACCEL_H
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

enum {
  MACCEL_F32 = 1, MACCEL_F64 = 2, MACCEL_BF16 = 3, MACCEL_F16 = 4, MACCEL_I64 = 5,
  MACCEL_I32 = 6, MACCEL_I16 = 7, MACCEL_I8 = 8, MACCEL_U8 = 9, MACCEL_BOOL = 10,
  MACCEL_C64 = 11, MACCEL_C128 = 12, /* pairs of float, of double: real, imaginary */
  MACCEL_U16 = 13, MACCEL_U32 = 14, MACCEL_U64 = 15
};

/* Codes that maccel_open and maccel_run return; 0 is success. */
enum {
  MACCEL_NO_WEIGHTS = 2, MACCEL_WRONG_WEIGHTS = 3, MACCEL_NO_MEMORY = 4,
  MACCEL_NO_TILES = 5, /* compiled for AMX, which the system does not let this process use */
  MACCEL_BAD_DTYPE = 10, MACCEL_BAD_RANK = 11, MACCEL_BAD_SIZE = 12, MACCEL_OUT_OF_RANGE = 13,
  MACCEL_NO_DATA = 14, MACCEL_BAD_INDEX = 20
};

/* A dense row-major tensor. In an output, data == NULL asks for memory that the session owns and
 * that is valid until its next run; the tensor may be passed to that run as it is. Other memory
 * must have room for the output (maccel_output_shapes tells). Shape, rank and dtype of outputs are
 * filled in. */
typedef struct {
  void *data;
  int64_t shape[8];
  int32_t rank;
  int32_t dtype;
} maccel_tensor;

typedef struct maccel_session maccel_session;

/* The last error of a session: code, input, axis, expected, got. */
typedef struct {
  int64_t code, input, axis, expected, got;
} maccel_error;

int32_t maccel_abi_version(void);
const char *maccel_signature(void); /* JSON */
/* threads <= 0: one per processor this process may use. */
int32_t maccel_open(const char *folder, int32_t threads, maccel_session **session);
int32_t maccel_output_shapes(maccel_session *, const maccel_tensor *inputs, maccel_tensor *outputs);
/* One run at a time; calls from several threads take turns. */
int32_t maccel_run(maccel_session *, const maccel_tensor *inputs, maccel_tensor *outputs);
int32_t maccel_reset(maccel_session *);
/* A state (a cache, a counter): its memory and how much of it there is, to be saved between runs
 * and written back. 1 if there is no such state. */
typedef struct {
  void *data;
  int64_t bytes;
} maccel_memory;
int32_t maccel_state(maccel_session *, int32_t index, maccel_memory *memory);
int32_t maccel_last_error(maccel_session *, maccel_error *error);
/* Number of fused groups that the last run launched, and their times in nanoseconds, in order;
 * 0 unless the library was built for profiling. Valid until the next run. */
int32_t maccel_profile(maccel_session *, const int64_t **times);
void maccel_close(maccel_session *);

#ifdef __cplusplus
}
#endif
#endif
