/* Runs a compiled model on the inputs of a check case and prints, for every output, its number of
 * elements and its largest distance from the expected output.
 *
 *   replay MODEL.maccel CHECK_FOLDER INPUTS OUTPUTS
 */
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "maccel.h"

enum { MOST = 16 };

/* Reads an .npy file in row-major order, version 1. */
static maccel_tensor read_npy(const char *folder, const char *kind, int index) {
  static const char *names[] = {"",    "<f4", "<f8", "<u2", "<f2", "<i8",
                                "<i4", "<i2", "|i1", "|u1", "|b1"};
  static const int sizes[] = {0, 4, 8, 2, 2, 8, 4, 2, 1, 1, 1};
  maccel_tensor t = {0};
  char path[4096], head[10], text[65536] = {0};
  snprintf(path, sizeof path, "%s/%s_%d.npy", folder, kind, index);
  FILE *file = fopen(path, "rb");
  if (!file || fread(head, 1, 10, file) != 10) exit(3);
  size_t length = (unsigned char)head[8] + 256 * (unsigned char)head[9], count = 1;
  if (fread(text, 1, length, file) != length) exit(3);
  const char *kind_text = strstr(text, "'descr': '") + 10;
  for (int code = 1; code <= 10; code++)
    if (!strncmp(kind_text, names[code], 3)) t.dtype = code;
  for (char *p = strstr(text, "'shape': (") + 10; *p != ')'; p += strspn(p, ", ")) {
    t.shape[t.rank++] = strtoll(p, &p, 10);
    count *= t.shape[t.rank - 1];
  }
  t.data = malloc(count * sizes[t.dtype] + 1);
  if (fread(t.data, sizes[t.dtype], count, file) != count) exit(3);
  fclose(file);
  return t;
}

static double value(const maccel_tensor *t, long i) {
  union { uint32_t bits; float number; } wide;
  switch (t->dtype) {
    case MACCEL_F32: return ((float *)t->data)[i];
    case MACCEL_F64: return ((double *)t->data)[i];
    case MACCEL_BF16: wide.bits = (uint32_t)((uint16_t *)t->data)[i] << 16; return wide.number;
    case MACCEL_I64: return ((int64_t *)t->data)[i];
    case MACCEL_I32: return ((int32_t *)t->data)[i];
    case MACCEL_BOOL: return ((uint8_t *)t->data)[i];
    default: exit(4);
  }
}

int main(int argc, char **argv) {
  char path[4096];
  if (argc < 5) return 5;
  snprintf(path, sizeof path, "%s/lib/model.so", argv[1]);
  void *library = dlopen(path, RTLD_NOW);
  if (!library) return fprintf(stderr, "%s\n", dlerror()), 6;
  int32_t (*open)(const char *, int32_t, maccel_session **);
  int32_t (*run)(maccel_session *, const maccel_tensor *, maccel_tensor *);
  void (*close)(maccel_session *);
  *(void **)&open = dlsym(library, "maccel_open");
  *(void **)&run = dlsym(library, "maccel_run");
  *(void **)&close = dlsym(library, "maccel_close");
  int inputs = atoi(argv[3]), outputs = atoi(argv[4]);
  maccel_tensor in[MOST], out[MOST] = {{0}};
  for (int i = 0; i < inputs; i++) in[i] = read_npy(argv[2], "input", i);
  maccel_session *session;
  if (open(argv[1], 3, &session)) return 7;
  if (run(session, in, out)) return 8;
  for (int i = 0; i < outputs; i++) {
    maccel_tensor expected = read_npy(argv[2], "output", i);
    long count = 1;
    double worst = 0;
    for (int axis = 0; axis < expected.rank; axis++) {
      if (expected.shape[axis] != out[i].shape[axis]) return 9;
      count *= expected.shape[axis];
    }
    for (long k = 0; k < count; k++) {
      double off = fabs(value(&out[i], k) - value(&expected, k));
      if (!(off <= worst)) worst = off;
    }
    printf("%ld %.9g\n", count, worst);
  }
  close(session);
  return 0;
}
