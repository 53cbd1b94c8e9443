/* Rauha plugin ABI, base: what every plugin and the host agree on. C11, also valid C++17 and later.
 *
 * A plugin is a shared object that exports exactly one symbol, rauha_plugin_entry_v1 (the ABI's major version is in the name), and
 * carries an ELF note (RAUHA_PLUGIN_NOTE) that the loader reads before any code of the file runs. The entry returns a static
 * descriptor; the descriptor makes instances; an instance answers get_interface("rauha.backend/1") with a static table or NULL.
 *
 * Trust: a plugin loaded in process has the daemon's privileges. The checks of the loader (owner, permissions, note, optional hash)
 * decide who may be loaded; they do not contain what was loaded.
 *
 * Size rules, for every struct in this folder
 *   1. The first member is struct_size, set by whoever fills the struct; the second is flags or reserved.
 *   2. Structs only grow at the end. Fixed-width integers only; no implicit padding; no enums, bool, bit-fields or long in structs.
 *   3. A reader takes min(struct_size, its own size) bytes. What is missing reads as zero, and zero means "as before".
 *   4. An input struct that is larger than the reader knows is accepted only if the unknown tail is zero, else RAUHA_E_UNSUPPORTED.
 *      (A restriction that is not understood must fail, not be dropped.) A struct marked "facts" only reports: of it the reader ignores
 *      the tail, so that a newer reporter works with an older reader.
 *   5. Unknown flag bits (of facts, too) and unknown records marked RAUHA_RECORD_CRITICAL are refused with RAUHA_E_UNSUPPORTED.
 *   6. Arrays are {ptr, count, stride}; step by stride, so that elements can grow. Each element is a struct of its own for rules 3 to 5.
 *
 * Ownership: nothing allocated on one side is freed on the other. Text is borrowed for the call. Variable-length results are pushed
 * into a sink of the host's while the call runs. Descriptors say in their name who owns them: *_take (the receiver closes) or
 * *_borrow (valid for the call); all are O_CLOEXEC.
 *
 * Threads, as tags on every function
 *   [loop]   the host's event loop: must not block, allocate much or do I/O
 *   [zone]   a worker thread of the host, may block; calls for one zone never overlap, different zones may run at once
 *   [worker] a worker thread of the host, may block; calls may run at once
 *   [service] the plugin's own service thread of the host (timers, watches), may block; callbacks of one plugin never overlap
 *   [any]    any thread, also at once
 *
 * Errors: a function returns RAUHA_OK or another status, and with it sets one line of text through host->set_error. On failure
 * out-parameters are untouched and nothing is left to clean up. No C++ exception and no longjmp may leave a plugin.
 */
#ifndef RAUHA_PLUGIN_H
#define RAUHA_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#define RAUHA_ABI_MAJOR 1
#define RAUHA_ABI_MINOR 1

#define RAUHA_EXPORT __attribute__((visibility("default")))

#ifdef __cplusplus
#define RAUHA_NOEXCEPT noexcept
extern "C" {
#else
#define RAUHA_NOEXCEPT
#endif

/* Status of a call. What the caller may do about it; the text says what happened. Numbers are never reused; 1000 and above are a
 * plugin's own and are shown as INTERNAL with their number. */
typedef int32_t rauha_status;
#define RAUHA_OK 0
#define RAUHA_E_INVALID 1 /* the request is wrong */
#define RAUHA_E_NOT_FOUND 2
#define RAUHA_E_EXISTS 3
#define RAUHA_E_UNSUPPORTED 4 /* this machine or this plugin cannot */
#define RAUHA_E_DENIED 5
#define RAUHA_E_BUSY 6 /* again later */
#define RAUHA_E_LIMIT 7
#define RAUHA_E_CANCELLED 8
#define RAUHA_E_DEADLINE 9
#define RAUHA_E_IO 10
#define RAUHA_E_CONFLICT 11 /* the object is in another state */
#define RAUHA_E_CORRUPT 12  /* data does not verify */
#define RAUHA_E_INTERNAL 13 /* a bug */

#define RAUHA_LOG_DEBUG 0
#define RAUHA_LOG_INFO 1
#define RAUHA_LOG_WARNING 2
#define RAUHA_LOG_ERROR 3

/* UTF-8, not NUL-terminated, borrowed for the call. An absent text has ptr NULL and len 0. */
typedef struct rauha_str {
  const char* ptr;
  size_t len;
} rauha_str;

/* Bytes of any kind, borrowed for the call. */
typedef struct rauha_bytes {
  const void* ptr;
  uint64_t len;
} rauha_bytes;

typedef struct rauha_array {
  const void* ptr;
  uint32_t count;
  uint32_t stride; /* bytes from one element to the next */
} rauha_array;

typedef struct rauha_call rauha_call;         /* one call in progress; the host's, valid until the call returns */
typedef struct rauha_instance rauha_instance; /* the plugin's */
typedef struct rauha_host_context rauha_host_context;

/* One statement of a policy view: a tag of the interface's, and its value. The meaning of number and text is said at the tag. */
#define RAUHA_RECORD_CRITICAL 1u /* a plugin that does not know the tag must refuse the call */
typedef struct rauha_record {
  uint32_t struct_size;
  uint32_t flags;
  uint32_t tag;
  uint32_t reserved;
  uint64_t number;
  rauha_str text;
} rauha_record;

/* One layer of protection, as probed or as armed. Facts. */
#define RAUHA_LAYER_MISSING 0
#define RAUHA_LAYER_PARTIAL 1
#define RAUHA_LAYER_FULL 2
typedef struct rauha_layer {
  uint32_t struct_size;
  uint32_t flags;
  uint32_t state; /* RAUHA_LAYER_* */
  uint32_t reserved;
  rauha_str name;   /* "seccomp", "cgroup_memory", … as in a policy's `require` */
  rauha_str detail; /* what was found or armed, one line */
  rauha_str reason; /* why it is not FULL */
  rauha_str remedy; /* what an operator can do */
} rauha_layer;

typedef struct rauha_layer_sink {
  uint32_t struct_size;
  uint32_t reserved;
  void* context;
  void (*push)(void* context, const rauha_layer* layer) RAUHA_NOEXCEPT;
} rauha_layer_sink;

/* Something that happened. Facts. */
typedef struct rauha_event {
  uint32_t struct_size;
  uint32_t flags;
  uint32_t severity; /* 0 debug, 1 info, 2 notice, 3 warning, 4 error */
  uint32_t reserved;
  rauha_str name;         /* "area.what", lower case */
  rauha_str zone_id;      /* absent: not about a zone; else 1 to 40 bytes of [a-z0-9_] */
  rauha_str message;      /* for people, one line */
  rauha_array attributes; /* of rauha_attribute */
} rauha_event;

typedef struct rauha_attribute {
  rauha_str key;
  rauha_str value;
} rauha_attribute;

/* Where the instance of Rauha lives. Borrowed; valid as long as the plugin's instance. Directories exist and are the daemon's, mode 0700.
 */
typedef struct rauha_environment {
  uint32_t struct_size;
  uint32_t reserved;
  rauha_str instance;    /* "rauha" or "rauha-1a2b3c4d": prefix of every kernel object's name */
  rauha_str state_dir;   /* survives a reboot; the plugin's own directory below it: <state_dir>/plugins/<name> */
  rauha_str runtime_dir; /* gone after a reboot */
  rauha_str libexec_dir; /* where Rauha's helper programs (rauha-shim) are */
} rauha_environment;

/* The host's functions. All [any]. The table and what it points to outlive the plugin's instances. */
typedef struct rauha_host {
  uint32_t struct_size;
  uint32_t abi_minor;
  rauha_host_context* context;
  const rauha_environment* environment;
  /* Sets the text of a failing call: one line, lower case, names the object and the errno text. The last one wins. hint: the remedy, or
   * absent. */
  void (*set_error)(rauha_call* call, rauha_status status, rauha_str text, rauha_str hint) RAUHA_NOEXCEPT;
  void (*log)(rauha_host_context* context, int32_t level, rauha_str text) RAUHA_NOEXCEPT;
  /* done and total in the same unit (bytes unless the interface says otherwise); total 0: unknown. what: shown to the user. */
  void (*progress)(rauha_call* call, rauha_str what, uint64_t done, uint64_t total) RAUHA_NOEXCEPT;
  int32_t (*cancelled)(rauha_call* call) RAUHA_NOEXCEPT;   /* 0 or 1 */
  int32_t (*cancel_fd)(rauha_call* call) RAUHA_NOEXCEPT;   /* borrowed; readable once the call is cancelled; -1: none */
  int64_t (*deadline_ns)(rauha_call* call) RAUHA_NOEXCEPT; /* CLOCK_MONOTONIC; 0: none */
  void (*emit)(rauha_host_context* context,
               const rauha_event* event) RAUHA_NOEXCEPT;                 /* copied before it returns; bounded, drops are counted */
  int32_t (*on_loop_thread)(rauha_host_context* context) RAUHA_NOEXCEPT; /* for asserts */
  /* A table by id ("rauha.state/1", … in service_*.h), or NULL. Static; begins with struct_size and reserved, and only grows. */
  const void* (*get_service)(rauha_host_context* context, const char* id)RAUHA_NOEXCEPT;
} rauha_host;

/* What a plugin is. Static data. */
typedef struct rauha_plugin {
  uint32_t struct_size;
  uint32_t abi_minor; /* of the header it was built against */
  const char* name;   /* [a-z0-9-], at most 31 bytes; the same as in the note */
  const char* version;
  const char* license;                  /* SPDX identifier */
  const char* const* provides;          /* NULL-terminated: "rauha.backend/1" */
  const char* const* requires_services; /* NULL-terminated; the host refuses the plugin when it lacks one */
  /* [worker] Makes an instance. There may be several at one time, with hosts of their own (tests have them), so what belongs to one stands
   * in it and not in a global. config: TOML text of the plugin's own section, each key on the line that it has in the operator's file;
   * unknown keys are refused by name and line. <state_dir>/plugins/<name> exists. After a failure nothing is left, and destroy is not
   * called. */
  rauha_status (*create)(const rauha_host* host, rauha_call* call, rauha_str config, rauha_instance** out) RAUHA_NOEXCEPT;
  void (*destroy)(rauha_instance* instance) RAUHA_NOEXCEPT;                             /* [worker] */
  const void* (*get_interface)(rauha_instance* instance, const char* id)RAUHA_NOEXCEPT; /* [loop] static table or NULL */
} rauha_plugin;

/* The entry. Returns static data; does not allocate, log, start threads or block. */
RAUHA_EXPORT const rauha_plugin* rauha_plugin_entry_v1(void) RAUHA_NOEXCEPT;

/* The note in section .note.rauha: type 1, name "Rauha". Fixed texts, NUL-padded. */
#define RAUHA_NOTE_TYPE 1u
typedef struct rauha_note {
  uint32_t name_size; /* 6 */
  uint32_t desc_size; /* sizeof(rauha_note) - 20 */
  uint32_t type;      /* RAUHA_NOTE_TYPE */
  char name[8];       /* "Rauha" */
  uint16_t abi_major;
  uint16_t abi_minor;
  char kind[12]; /* "backend", "image", "enforcer", "net" */
  char plugin[32];
  char version[16];
} rauha_note;

#define RAUHA_PLUGIN_NOTE(KIND, NAME, VERSION)                                                             \
  __attribute__((section(".note.rauha"), used, aligned(4))) static const struct rauha_note rauha_note_ = { \
      6, (uint32_t)(sizeof(struct rauha_note) - 20), RAUHA_NOTE_TYPE, "Rauha", RAUHA_ABI_MAJOR, RAUHA_ABI_MINOR, KIND, NAME, VERSION}

/* Is `field` inside the size that the struct's maker knew? */
#define RAUHA_HAS(ptr, field) ((ptr) != NULL && (ptr)->struct_size >= offsetof(__typeof__(*(ptr)), field) + sizeof((ptr)->field))

#ifdef __cplusplus
}
#endif
#endif
