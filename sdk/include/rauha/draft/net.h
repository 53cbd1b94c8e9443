/* "rauha.net/1", DRAFT: connects a zone to the network and takes it off again. Not promised yet: it is frozen when the first network plugin
 * lands, and until then a plugin must be built with the very daemon that loads it. The id does not change then.
 *
 * The network namespace is the backend's: it belongs to the zone's user namespace and exists, with a loopback device, before attach. The
 * plugin puts an interface into it, gives it an address and guards it. Rules come before the link goes up: there is no moment in which a
 * zone can send what its policy does not allow.
 *
 * Like CNI: detach always succeeds when the thing is gone, works without attach's result, and from the zone's id alone; check compares and
 * changes nothing. What attach returned is stored by the host and handed to check and detach again, so that a plugin keeps no files.
 */
#ifndef RAUHA_DRAFT_NET_H
#define RAUHA_DRAFT_NET_H

#include "../plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

#define RAUHA_NET_V1 "rauha.net/1"

/* Tags of rauha_net_spec.records. All are sent with RAUHA_RECORD_CRITICAL. Without an EGRESS record nothing leaves the zone, without an
 * INGRESS record nothing enters; answers to what was allowed always may. */
#define RAUHA_NET_EGRESS 1u      /* text: "10.0.0.0/8", "2001:db8::/32 tcp 443", "0.0.0.0/0 udp 1000-2000"; one record each */
#define RAUHA_NET_EGRESS_DENY 2u /* text: as EGRESS; wins over EGRESS */
#define RAUHA_NET_INGRESS 3u     /* text: "tcp 8080": from the host */
#define RAUHA_NET_PUBLISH 4u     /* text: "tcp 127.0.0.1:8080 80": host address and port to the zone's port */
#define RAUHA_NET_PEER 5u        /* text: zone id, space, "tcp 5432"; what this zone may send to that one */
#define RAUHA_NET_DNS 6u         /* text: address of a resolver; one record each */
#define RAUHA_NET_DNS_NAME 7u    /* text: "*.example.org": only these names are answered */
#define RAUHA_NET_ADDRESS 8u     /* text: an address to be used; absent: the plugin chooses */
#define RAUHA_NET_MTU 9u         /* number; absent: the plugin chooses */
#define RAUHA_NET_RATE_BPS 10u   /* number: bytes per second, each direction */

typedef struct rauha_net_spec {
  uint32_t struct_size;
  uint32_t flags;
  rauha_str zone_id;
  int32_t netns_fd_borrow; /* the zone's network namespace; -1 for a zone in a VM */
  int32_t reserved;
  uint64_t cgroup_id;  /* inode of the zone's directory in the v2 tree; 0: none */
  rauha_array records; /* of rauha_record */
  rauha_str state;     /* what attach gave for this zone; absent in attach itself */
} rauha_net_spec;

/* Pushed by attach, once. */
typedef struct rauha_net_result {
  uint32_t struct_size;
  uint32_t flags;
  rauha_str interface_name; /* inside of the zone: "eth0" */
  rauha_str host_interface; /* on the host's side; absent: none */
  rauha_array addresses;    /* of rauha_str: "10.88.0.5/16" */
  rauha_array resolvers;    /* of rauha_str, for the zone's resolv.conf */
  rauha_str state;          /* opaque, at most 64 KiB, stored by the host */
} rauha_net_result;

typedef struct rauha_net_sink {
  uint32_t struct_size;
  uint32_t reserved;
  void* context;
  void (*result)(void* context, const rauha_net_result* result) RAUHA_NOEXCEPT;
} rauha_net_sink;

typedef struct rauha_net_finding {
  uint32_t struct_size;
  uint32_t flags;
  rauha_str zone_id; /* absent: not attributable */
  rauha_str object;  /* "interface rauha-1a2b", "nftables set zone_x" */
  rauha_str action;  /* "removed", "adopted", "left: <reason>", or for check what differs */
} rauha_net_finding;

typedef struct rauha_net_finding_sink {
  uint32_t struct_size;
  uint32_t reserved;
  void* context;
  void (*push)(void* context, const rauha_net_finding* finding) RAUHA_NOEXCEPT;
} rauha_net_finding_sink;

typedef struct rauha_net_v1 {
  uint32_t struct_size;
  uint32_t reserved;
  /* [worker] What this machine can do, one layer each ("network", "network_dns", …); changes nothing. */
  rauha_status (*probe)(rauha_instance*, rauha_call*, const rauha_layer_sink*) RAUHA_NOEXCEPT;
  /* [zone] Connects the zone; rules first, link last. On failure nothing is left. EXISTS when it is attached already. */
  rauha_status (*attach)(rauha_instance*, rauha_call*, const rauha_net_spec*, const rauha_net_sink*) RAUHA_NOEXCEPT;
  /* [zone] Changes the rules of an attached zone as one transaction. UNSUPPORTED names the record that cannot change. */
  rauha_status (*update)(rauha_instance*, rauha_call*, const rauha_net_spec*) RAUHA_NOEXCEPT;
  /* [zone] Takes everything of the zone away: link, address, rules, published ports. Idempotent; netns_fd_borrow may be -1, state absent.
   */
  rauha_status (*detach)(rauha_instance*, rauha_call*, const rauha_net_spec*) RAUHA_NOEXCEPT;
  /* [zone] Compares the kernel with the wish and pushes each difference; changes nothing. CONFLICT when there is one. */
  rauha_status (*check)(rauha_instance*, rauha_call*, const rauha_net_spec*, const rauha_net_finding_sink*) RAUHA_NOEXCEPT;
  /* [worker] Once after start: `zones` (array of rauha_str) are to be kept; all else that carries our instance's name goes and is pushed.
   */
  rauha_status (*reconcile)(rauha_instance*, rauha_call*, rauha_array zones, const rauha_net_finding_sink*) RAUHA_NOEXCEPT;
} rauha_net_v1;

#ifdef __cplusplus
}
#endif
#endif
