// Taken into statically linked programs by rauha_static() in cmake/RauhaTargets.cmake.
//
// The start-up code of a static program (gcc's crtbeginT.o) registers all unwind information as one unsorted list, and the first exception
// sorts it: 3 ms and 150 KiB in rauha-shim, whose life is some 10 ms. Nothing registered, the unwinder asks the program headers instead,
// where the linker has put a sorted table (--eh-frame-hdr). The linker's --wrap leads the start-up code here.
void __wrap___register_frame_info(const void* begin, void* object);
void* __wrap___deregister_frame_info(const void* begin);

void __wrap___register_frame_info(const void* begin, void* object) {
  (void)begin;
  (void)object;
}

void* __wrap___deregister_frame_info(const void* begin) {
  (void)begin;
  return 0;
}
