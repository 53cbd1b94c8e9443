/* "rauha.image/1": turns a reference into ordered, read-only layers (or mounts) and the image's configuration.
 *
 * References: the operator gives a plugin schemes ("snapshot"), and it gets every reference that begins with one of them and a ':'; one
 * plugin has no schemes and gets the rest. Where a path stands behind the scheme (it begins with '/', "./" or "../"), the client opens it
 * with its user's rights, a directory or a regular file, and the plugin gets the descriptor; it never opens a caller's path by itself. What
 * a plugin with schemes stores under a name is asked for as SCHEME:NAME, so that is the reference which import_image and list push.
 *
 * Store: the plugin's own, in <state_dir>/plugins/<name>, which exists before create. Layers are directories that stay as they are while
 * they are leased; a zone sees them through an overlay, never writable. A lease keeps them from being removed while a zone uses them. Calls
 * may run at once, also about one image. The daemon may be killed at any moment: whatever is visible in the store must be whole.
 *
 * Image content is hostile: it is only ever unpacked beneath its own directory, and never executed by the plugin. So are sources:
 * read them with the caller's rights (caller_uid, caller_gid), not with the daemon's.
 */
#ifndef RAUHA_IMAGE_H
#define RAUHA_IMAGE_H

#include "plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

#define RAUHA_IMAGE_V1 "rauha.image/1"

/* What is asked for. Later versions append fields, and define tags of records: what the plugin does not understand it refuses (size rule
 * 4, critical records), so that nobody gets another image than the one that was asked for. In 1.0 there are no tags.
 *
 * Tags since 1.1; a plugin that fetches nothing may ignore those that are not critical. resolve has all of them, prune only ALL.
 *   PULL            number: RAUHA_PULL_*; absent: MISSING. Critical when NEVER
 *   PLATFORM        text: "os/architecture[/variant]"; absent: this machine's. Critical
 *   CREDENTIALS     text: JSON, what the caller's program found for whom the reference names: {"registry": …, "username": …, "password": …}
 * or
 *                   {"registry": …, "identity_token": …}. To be kept nowhere, shown nowhere, and given to nobody else than that registry
 *   REQUIRE_DIGEST  a reference that does not name its content by digest is DENIED. Critical
 *   REGISTRY        text: a registry from which the image may come, or a kind of source ("host", "oci"); several records: any of them. What
 *                   comes from elsewhere is DENIED, also when it is stored. Critical
 *   ALL             prune: also images that no lease uses. Critical */
#define RAUHA_IMAGE_PULL 1u
#define RAUHA_IMAGE_PLATFORM 2u
#define RAUHA_IMAGE_CREDENTIALS 3u
#define RAUHA_IMAGE_REQUIRE_DIGEST 4u
#define RAUHA_IMAGE_REGISTRY 5u
#define RAUHA_IMAGE_ALL 6u
#define RAUHA_PULL_MISSING 0u /* fetched only when the store does not have it */
#define RAUHA_PULL_ALWAYS 1u  /* the name is looked up where it comes from, whatever the store has under it */
#define RAUHA_PULL_NEVER 2u
typedef struct rauha_image_request {
  uint32_t struct_size;
  uint32_t flags;
  rauha_str reference; /* as the user wrote it: "host", "oci:DIR[:tag]", "dir:PATH", "snapshot:PATH", or a stored name */
  int32_t
      source_fd_borrow; /* the directory or file of the reference, opened for reading by the client with its own rights; -1: none given */
  uint32_t caller_uid;  /* who asks */
  uint32_t caller_gid;
  uint32_t reserved;
  rauha_str lease;     /* resolve: id of the zone that will use the layers, [a-z0-9_], at most 40 bytes; absent: nothing is leased */
  rauha_str name;      /* import: the name to store it under, from a user; absent: made from the reference, or INVALID. export: the tag that
                          the image has in the archive; absent: its own */
  rauha_array records; /* of rauha_record */
} rauha_image_request;

/* What the owners of a layer's files are in the zone. NONE: they are the host's; to the zone everything is nobody's, and plain permissions
 * decide what it may read. OWNER: the caller's files are the zone's run user's, all others nobody's; not for a caller who is root. */
#define RAUHA_LAYER_ID_NONE 0u
#define RAUHA_LAYER_ID_ZONE 1u /* on-disk id N is the zone's id N: for unpacked images, N up to 65535 */
#define RAUHA_LAYER_ID_OWNER 2u
typedef struct rauha_image_layer {
  uint32_t struct_size;
  uint32_t flags;
  uint32_t id_mapping;         /* RAUHA_LAYER_ID_* */
  int32_t directory_fd_borrow; /* the layer's directory when it has no path of the store's (`dir:`); the host duplicates it; else -1 */
  rauha_str path;              /* absolute, without ".."; absent when directory_fd_borrow is given */
  rauha_str digest;            /* "sha256:" and 64 hex digits, of the stored blob; absent: not hashed */
  rauha_str diff_id;           /* the same, of what was unpacked; absent: unknown */
  rauha_str media_type;        /* shown to users */
  uint64_t size;               /* bytes of the blob */
} rauha_image_layer;

/* For images that are assembled from pieces instead of layers ("host"): one entry of the fresh root, which has nothing else but what every
 * zone gets (/proc, /sys, /dev, /tmp, /workspace). Entries are made in the order in which they are pushed, and so are the directories that
 * lead to a target. An image has layers or mounts, not both. */
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
  rauha_str digest;      /* "sha256:…" of the manifest, or whatever names the content; absent: not hashed (dir, host) */
  rauha_str source;      /* a word for where it came from: "oci", "dir", "host", "snapshot"; shown to users */
  rauha_str config_json; /* OCI image configuration (whole document): environment, user, working directory, command; absent: none */
  uint64_t size;         /* unpacked bytes */
  int64_t created_ns;    /* when it entered the store, CLOCK_REALTIME; 0: not stored */
} rauha_image_info;

/* One thing of the store that verify looked at. Facts. UNKNOWN: it could not be checked, and text says why; never reported as GOOD. */
#define RAUHA_CHECK_GOOD 0u
#define RAUHA_CHECK_DAMAGED 1u
#define RAUHA_CHECK_MISSING 2u
#define RAUHA_CHECK_UNKNOWN 3u
typedef struct rauha_image_check {
  uint32_t struct_size;
  uint32_t flags;
  uint32_t state; /* RAUHA_CHECK_* */
  uint32_t reserved;
  rauha_str kind;     /* a word for people: "manifest", "configuration", "blob", "layer", "record" */
  rauha_str digest;   /* "sha256:…", what it should be; absent: it has none */
  rauha_str path;     /* where it lies, for an operator */
  rauha_str text;     /* what is wrong with it, one line; absent when GOOD */
  rauha_str remedy;   /* what to do about it */
  uint64_t bytes;     /* that were read */
  rauha_array images; /* of rauha_str: references of the stored images that need it */
} rauha_image_check;

/* Order per image: info, then its layers (lowest first) or mounts, then the next image. A sink may have more functions than the plugin
 * knows, and an older one fewer: ask RAUHA_HAS for those that came after 1.0. */
typedef struct rauha_image_sink {
  uint32_t struct_size;
  uint32_t reserved;
  void* context;
  void (*info)(void* context, const rauha_image_info*) RAUHA_NOEXCEPT;
  void (*layer)(void* context, const rauha_image_layer*) RAUHA_NOEXCEPT;
  void (*mount)(void* context, const rauha_image_mount*) RAUHA_NOEXCEPT;
  void (*check)(void* context, const rauha_image_check*) RAUHA_NOEXCEPT; /* since 1.1; of verify alone, and belongs to no image */
} rauha_image_sink;

typedef struct rauha_image_v1 {
  uint32_t struct_size;
  uint32_t reserved;
  /* [worker] Makes the image's layers ready (verifying and unpacking what the store lacks) and pushes exactly one image. With a lease the
   * layers stay until release; a zone may lease several images. After a failure nothing is leased. Without a lease they may go at the next
   * release, remove or reconcile. NOT_FOUND, INVALID (malformed reference or image), CORRUPT (digest mismatch), UNSUPPORTED (registry
   * reference), LIMIT. */
  rauha_status (*resolve)(rauha_instance*, rauha_call*, const rauha_image_request*, const rauha_image_sink*) RAUHA_NOEXCEPT;
  /* [worker] Ends everything that the zone leased. Idempotent; a zone that leased nothing is RAUHA_OK: with several image plugins each is
   * asked. */
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
  /* [worker] Once after start, before other calls matter: leases (array of rauha_str) that still live; all others and half-done files are
   * removed. */
  rauha_status (*reconcile)(rauha_instance*, rauha_call*, rauha_array leases) RAUHA_NOEXCEPT;
  /* [worker] Since 1.1. Removes what no image and no lease needs: layers, half-fetched files; with the record ALL also the images that no
   * lease uses. Pushes the info of each image that went. */
  rauha_status (*prune)(rauha_instance*, rauha_call*, const rauha_image_request*, const rauha_image_sink*) RAUHA_NOEXCEPT;
  /* [worker] Since 1.1. Writes the stored image as an OCI archive (a plain tar of an OCI layout: oci-layout, index.json, blobs/sha256/HEX,
   * in any order, nothing else) and pushes its info and layers. Manifest, configuration and blobs are those that the image came with, each
   * verified while it is written: NOT_FOUND when the store has not kept one (nothing is written then), CORRUPT when one does not verify.
   *
   * target_fd_borrow: a connected stream socket whose other end is a client that takes the bytes and writes them with its own rights. The
   * client is hostile: send with MSG_DONTWAIT and MSG_NOSIGNAL, wait in poll together with the call's cancel_fd, and end with DEADLINE when
   * nobody takes a byte for a while. What was sent of an export that failed is thrown away by the client. */
  rauha_status (*export_image)(rauha_instance*, rauha_call*, const rauha_image_request*, int32_t target_fd_borrow,
                               const rauha_image_sink*) RAUHA_NOEXCEPT;
  /* [worker] Since 1.1. Reads again what the store has of the reference (absent: everything) and pushes one check for each thing. OK when
   * the looking succeeded, whatever it found; NOT_FOUND when there is no such image. Changes nothing. */
  rauha_status (*verify)(rauha_instance*, rauha_call*, const rauha_image_request*, const rauha_image_sink*) RAUHA_NOEXCEPT;
} rauha_image_v1;

#ifdef __cplusplus
}
#endif
#endif
