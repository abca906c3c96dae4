// The entry of a libFuzzer program; ODRADEK_FUZZ_TARGET names the function of targets.h that it
// calls.
#include <cstddef>
#include <cstdint>

#include "fuzz/targets.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  odradek::fuzz::ODRADEK_FUZZ_TARGET({data, size});
  return 0;
}
