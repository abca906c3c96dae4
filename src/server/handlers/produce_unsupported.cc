// Produce (0), versions 0-2: advertised, because older librdkafka decides by it whether a broker
// knows compression, and refused, as Kafka 4 does not take message sets of magic 0 and 1.
//
// The schemas begin with version 3, so the frame is taken apart by hand here. With acks=0 there is
// no answer that could carry the error: the connection closes.
#include "server/handlers/handlers.h"
#include "wire/errors.h"

namespace odradek::server {

io::Task<void> handle_unsupported_produce(Request& request) {
  wire::Reader in(request.body(), request.arena());
  wire::Writer out;
  const int16_t acks = in.int16();
  in.int32();  // timeout
  const int64_t topics = std::max<int64_t>(in.count(6), 0);
  out.count(static_cast<size_t>(topics));
  for (int64_t t = 0; t < topics && in.ok(); t++) {
    out.string(in.string());
    const int64_t partitions = std::max<int64_t>(in.count(8), 0);
    out.count(static_cast<size_t>(partitions));
    for (int64_t p = 0; p < partitions && in.ok(); p++) {
      out.int32(in.int32());
      in.nullable_bytes();
      out.int16(wire::wire_value(wire::ErrorCode::kUnsupportedVersion));
      out.int64(-1);                              // base offset
      if (request.version() >= 2) out.int64(-1);  // log append time
    }
  }
  if (request.version() >= 1) out.int32(0);  // throttle time
  if (const Result<void> r = in.result("ProduceRequest", request.version()); !r) {
    request.close(r.error().message);
  } else if (acks == 0) {
    request.close("Produce version 0 to 2 is not supported");
  } else {
    request.respond_body(out.view());
  }
  co_return;
}

}  // namespace odradek::server
