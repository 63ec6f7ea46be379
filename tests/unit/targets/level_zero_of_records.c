/* Level Zero's functions that `detect` calls, answering as an Arc A770's driver does. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  uint32_t stype;
  void *next;
  uint32_t type, vendor, device, flags, subdevice, clock;
  uint64_t max_allocation;
  uint32_t contexts, priority, threads, width, eus, subslices, slices;
  uint64_t timer;
  uint32_t bits, kernel_bits;
  uint8_t uuid[16];
  char name[256];
} device_properties;

typedef struct {
  uint32_t stype;
  void *next;
  uint32_t flags, clock, bus;
  uint64_t total;
  char name[256];
} memory_properties;

typedef struct {
  uint32_t stype;
  void *next;
  uint32_t domain, bus, device, function;
  int32_t generation, width;
  int64_t bandwidth;
} pci_properties;

enum { INVALID = 0x78000004 };
static int driver, device;

static int one(uint32_t *count, void **handles, void *handle) {
  if (*count == 0) *count = 1;
  else handles[0] = handle;
  return 0;
}

int zeInit(uint32_t flags) {
  const char *result = getenv("ZE_INIT");
  if (result && !strcmp(result, "crash")) abort();
  return result ? (int)strtoul(result, 0, 16) : flags == 1 ? 0 : INVALID;
}
int zeDriverGet(uint32_t *count, void **handles) { return one(count, handles, &driver); }
int zeDeviceGet(void *of, uint32_t *count, void **handles) {
  return of == &driver ? one(count, handles, &device) : INVALID;
}
int zeDeviceGetProperties(void *of, device_properties *p) {
  if (of != &device || p->stype != 0x3 || p->next) return INVALID;
  p->type = 1;
  p->vendor = 0x8086;
  p->device = 0x56a0;
  p->clock = 2400;
  strcpy(p->name, "Intel(R) Arc(TM) A770 Graphics");
  return 0;
}
int zeDeviceGetMemoryProperties(void *of, uint32_t *count, memory_properties *p) {
  if (of != &device) return INVALID;
  if (*count == 0) return *count = 1, 0;
  if (p->stype != 0x7 || p->next) return INVALID;
  p->total = 16225243136;
  strcpy(p->name, "GDDR");
  return 0;
}
int zeDevicePciGetPropertiesExt(void *of, pci_properties *p) {
  if (of != &device || p->stype != 0x10008 || p->next) return INVALID;
  p->domain = 0;
  p->bus = 3;
  p->device = p->function = 0;
  return 0;
}
