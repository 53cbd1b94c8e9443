/* The size rules of plugin.h for readers in C; plugin.hpp has them for C++. Inline, without state.
 *
 *   rauha_zone_spec spec;
 *   switch (rauha_take(&spec, sizeof spec, given)) {
 *     case RAUHA_TAKE_SMALL:   … INVALID: no struct, or one that ends before its second field
 *     case RAUHA_TAKE_UNKNOWN: … UNSUPPORTED: the caller sets what this plugin does not know
 *   }
 *
 * Elements of an array are structs as well: rauha_take(&record, sizeof record, rauha_element(&spec.records, i)). Flags remain to be looked
 * at.
 */
#ifndef RAUHA_SIZE_RULES_H
#define RAUHA_SIZE_RULES_H

#include <string.h>

#include "plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

#define RAUHA_TAKE_OK 0
#define RAUHA_TAKE_SMALL 1
#define RAUHA_TAKE_UNKNOWN 2

/* Copies what both sides know of *from, whose first member is its struct_size, to the `size` bytes at `to`; what the caller did not know
 * reads as zero. Anything but RAUHA_TAKE_OK is a refusal: then *to means nothing. */
static inline int rauha_take(void* to, size_t size, const void* from) {
  uint32_t given = 0;
  size_t i;
  if (from != NULL) memcpy(&given, from, sizeof given);
  if (given < 2 * sizeof(uint32_t)) return RAUHA_TAKE_SMALL;
  memset(to, 0, size);
  memcpy(to, from, given < size ? given : size);
  for (i = size; i < given; ++i)
    if (((const unsigned char*)from)[i] != 0) return RAUHA_TAKE_UNKNOWN;
  return RAUHA_TAKE_OK;
}

/* Element number `index`, below array->count; step by stride, never by an own sizeof. */
static inline const void* rauha_element(const rauha_array* array, uint32_t index) {
  return (const unsigned char*)array->ptr + (size_t)index * array->stride;
}

#ifdef __cplusplus
}
#endif
#endif
