/* NVML's functions that `detect` calls, answering as nvidia-smi recorded (devices.h). */
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, NOT_SUPPORTED = 3, NOT_FOUND = 6 };

struct device {
  const char *name, *uuid;
  int major, minor;
  unsigned long long total, free, used;
  int mig;  /* -1: it has no such mode */
  int busy; /* per cent; -1: not told */
  unsigned limit; /* milliwatts */
  unsigned parts;
  unsigned long long part[8];
};
#include "devices.h"

struct memory { unsigned long long total, free, used; };
struct utilization { unsigned gpu, memory; };
/* A handle is the address of a device, or of a part's size. */
static int whole(const void *handle) {
  const char *start = (const char *)devices, *end = start + sizeof devices;
  const char *at = handle;
  return at >= start && at < end && (at - start) % (long)sizeof(struct device) == 0;
}

int nvmlInitWithFlags(unsigned flags) {
  (void)flags;
  const char *refuse = getenv("NVML_INIT");
  return refuse ? atoi(refuse) : SUCCESS;
}
int nvmlShutdown(void) { return SUCCESS; }
const char *nvmlErrorString(int code) { return code == 999 ? "Unknown Error" : "refused"; }
int nvmlSystemGetDriverVersion(char *text, unsigned size) {
  strncpy(text, DRIVER, size);
  return SUCCESS;
}
int nvmlSystemGetCudaDriverVersion(int *version) {
  *version = CUDA;
  return SUCCESS;
}
int nvmlDeviceGetCount_v2(unsigned *count) {
  *count = sizeof devices / sizeof devices[0];
  return SUCCESS;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, const void **handle) {
  *handle = &devices[index];
  return SUCCESS;
}
int nvmlDeviceGetCudaComputeCapability(const struct device *d, int *major, int *minor) {
  *major = d->major;
  *minor = d->minor;
  return SUCCESS;
}
int nvmlDeviceGetMemoryInfo(const void *handle, struct memory *memory) {
  const struct device *d = handle;
  if (whole(handle)) *memory = (struct memory){d->total, d->free, d->used};
  else *memory = (struct memory){*(const unsigned long long *)handle, 0, 0};
  return SUCCESS;
}
int nvmlDeviceGetMigMode(const struct device *d, unsigned *current, unsigned *pending) {
  if (d->mig < 0) return NOT_SUPPORTED;
  *current = *pending = (unsigned)d->mig;
  return SUCCESS;
}
int nvmlDeviceGetMaxMigDeviceCount(const struct device *d, unsigned *count) {
  *count = d->mig < 0 ? 0 : 7; /* places; not all need be taken */
  return SUCCESS;
}
int nvmlDeviceGetMigDeviceHandleByIndex(const struct device *d, unsigned index, const void **part) {
  if (index >= d->parts) return NOT_FOUND;
  *part = &d->part[index];
  return SUCCESS;
}
int nvmlDeviceGetUtilizationRates(const struct device *d, struct utilization *rates) {
  if (d->busy < 0) return NOT_SUPPORTED;
  *rates = (struct utilization){(unsigned)d->busy, 0};
  return SUCCESS;
}
int nvmlDeviceGetEnforcedPowerLimit(const struct device *d, unsigned *limit) {
  *limit = d->limit;
  return SUCCESS;
}
int nvmlDeviceGetName(const struct device *d, char *text, unsigned size) {
  strncpy(text, d->name, size);
  return SUCCESS;
}
int nvmlDeviceGetUUID(const struct device *d, char *text, unsigned size) {
  strncpy(text, d->uuid, size);
  return SUCCESS;
}
