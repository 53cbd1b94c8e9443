/* "rauha.image/1": turns a reference into ordered, read-only layers and the image's configuration.
 *
 * The plugin owns its store (below <state_dir>/plugins/<name>): content-addressed blobs and unpacked layers, each unpacked once and shared.
 * A lease keeps an image's layers from being removed while a zone uses them. Image content is hostile: it is only ever unpacked
 * beneath its own directory, and never executed by the plugin.
 */
#ifndef RAUHA_IMAGE_H
#define RAUHA_IMAGE_H

#include "plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

#define RAUHA_IMAGE_V1 "rauha.image/1"

/* What is asked for. Later versions append fields, and define tags of records: what the plugin does not understand it refuses (size rule
 * 4, critical records), so that nobody gets another image than the one that was asked for. In 1.0 there are no tags. */
typedef struct rauha_image_request {
  uint32_t struct_size;
  uint32_t flags;
  rauha_str reference;      /* "host", "oci:DIR[:tag]", "oci-archive:FILE", "docker-archive:FILE", "dir:PATH", or a stored name */
  int32_t source_fd_borrow; /* the directory or file of the reference, opened by the client with its own rights; -1: none given */
  uint32_t caller_uid;      /* who asks */
  uint32_t caller_gid;
  uint32_t reserved;
  rauha_str lease;     /* zone id that will use the layers; absent: inspect only, nothing is leased */
  rauha_str name;      /* import: the name to store it under; absent: made from the reference */
  rauha_array records; /* of rauha_record */
} rauha_image_request;

#define RAUHA_LAYER_ID_NONE 0u  /* owners are the host's */
#define RAUHA_LAYER_ID_ZONE 1u  /* on-disk id N is the zone's id N */
#define RAUHA_LAYER_ID_OWNER 2u /* only the caller's ids are mapped, to the zone's run user */
typedef struct rauha_image_layer {
  uint32_t struct_size;
  uint32_t flags;
  uint32_t id_mapping;         /* RAUHA_LAYER_ID_* */
  int32_t directory_fd_borrow; /* the layer's directory when it has no path of the store's (`dir:`); the host duplicates it; else -1 */
  rauha_str path;              /* absolute; absent when directory_fd_borrow is given */
  rauha_str digest;            /* of the stored blob; absent: not hashed */
  rauha_str diff_id;
  rauha_str media_type;
  uint64_t size; /* bytes of the blob */
} rauha_image_layer;

/* For images that are assembled from pieces instead of layers ("host"): one entry of the fresh root. */
#define RAUHA_MOUNT_BIND 0u      /* source: absolute host path; always read-only */
#define RAUHA_MOUNT_SYMLINK 1u   /* source: the link's text */
#define RAUHA_MOUNT_FILE 2u      /* source: the file's content, mode 0644 */
#define RAUHA_MOUNT_DIRECTORY 3u /* number: mode bits */
#define RAUHA_MOUNT_TMPFS 4u     /* number: size in bytes */
#define RAUHA_MOUNT_OPTIONAL 1u  /* flags: no error when the source is missing */
#define RAUHA_MOUNT_EXEC 2u      /* flags: programs may be run from it */
typedef struct rauha_image_mount {
  uint32_t struct_size;
  uint32_t flags;
  uint32_t kind;
  uint32_t reserved;
  uint64_t number;
  rauha_str source;
  rauha_str target; /* absolute, in the zone */
} rauha_image_mount;

/* Facts. */
typedef struct rauha_image_info {
  uint32_t struct_size;
  uint32_t flags;
  rauha_str reference;
  rauha_str digest;      /* of the manifest; absent: not hashed (dir, host) */
  rauha_str source;      /* "oci", "oci-archive", "docker-archive", "dir", "host" */
  rauha_str config_json; /* OCI image configuration (whole document); absent: none */
  uint64_t size;         /* unpacked bytes */
  int64_t created_ns;    /* when it entered the store, CLOCK_REALTIME; 0: not stored */
} rauha_image_info;

/* Order per image: info, then its layers (lowest first) or mounts, then the next image. A sink may have more functions than the plugin
 * knows, and an older one fewer: ask RAUHA_HAS for those that came after 1.0. */
typedef struct rauha_image_sink {
  uint32_t struct_size;
  uint32_t reserved;
  void* context;
  void (*info)(void* context, const rauha_image_info*) RAUHA_NOEXCEPT;
  void (*layer)(void* context, const rauha_image_layer*) RAUHA_NOEXCEPT;
  void (*mount)(void* context, const rauha_image_mount*) RAUHA_NOEXCEPT;
} rauha_image_sink;

typedef struct rauha_image_v1 {
  uint32_t struct_size;
  uint32_t reserved;
  /* [worker] Makes the image's layers ready (verifying and unpacking what the store lacks) and pushes it. With a lease the layers stay
   * until release. NOT_FOUND, INVALID (malformed reference or image), CORRUPT (digest mismatch), UNSUPPORTED (registry reference), LIMIT.
   */
  rauha_status (*resolve)(rauha_instance*, rauha_call*, const rauha_image_request*, const rauha_image_sink*) RAUHA_NOEXCEPT;
  /* [worker] Ends the lease. Idempotent. */
  rauha_status (*release)(rauha_instance*, rauha_call*, rauha_str lease) RAUHA_NOEXCEPT;
  /* [worker] Every stored image. In 1.0 the request says only who asks. */
  rauha_status (*list)(rauha_instance*, rauha_call*, const rauha_image_request*, const rauha_image_sink*) RAUHA_NOEXCEPT;
  /* [worker] As resolve, without making anything ready: no lease is taken and nothing is stored. */
  rauha_status (*inspect)(rauha_instance*, rauha_call*, const rauha_image_request*, const rauha_image_sink*) RAUHA_NOEXCEPT;
  /* [worker] Removes the reference (a stored name), and every layer that neither another image nor a lease needs. BUSY when a lease uses
   * it. */
  rauha_status (*remove)(rauha_instance*, rauha_call*, const rauha_image_request*) RAUHA_NOEXCEPT;
  /* [worker] Stores the image under a name; pushes what was stored. */
  rauha_status (*import_image)(rauha_instance*, rauha_call*, const rauha_image_request*, const rauha_image_sink*) RAUHA_NOEXCEPT;
  /* [worker] Once after start: leases (array of rauha_str) that still live; all others and half-done files are removed. */
  rauha_status (*reconcile)(rauha_instance*, rauha_call*, rauha_array leases) RAUHA_NOEXCEPT;
} rauha_image_v1;

#ifdef __cplusplus
}
#endif
#endif
