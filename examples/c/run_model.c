/* Runs the compiled MLP (examples/mlp.py) without Python: one blank image in, ten numbers out.
 *
 *   mojoaccel compile examples/mlp.py
 *   cc examples/c/run_model.c -o run_model -Imlp.maccel/include mlp.maccel/lib/model.so \
 *       -Wl,-rpath,"$PWD/mlp.maccel/lib"
 *   ./run_model mlp.maccel
 */
#include <stdio.h>
#include "model.h"

int main(int argc, char **argv) {
  static float image[784];
  maccel_tensor input = {image, {1, 784}, 2, MACCEL_F32}, output = {0};
  maccel_session *session;
  if (argc < 2 || maccel_open(argv[1], 0, &session)) return 1; /* 0: a thread per processor */
  if (maccel_run(session, &input, &output)) return 2;
  for (int i = 0; i < output.shape[1]; i++) printf("%.9g\n", ((float *)output.data)[i]);
  maccel_close(session); /* also frees output.data */
  return 0;
}
