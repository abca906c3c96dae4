// AllocateProducerIds 0: blocks of producer ids for brokers to hand out.
#include <cstdint>

#include "machines/controller/apis.h"
#include "wire/gen/producer_ids_record.h"

namespace odradek::machines::control {

namespace {
constexpr int32_t kBlockSize = 1000;
}

wire::AllocateProducerIdsResponse allocate_producer_ids(
    Context& context, const wire::AllocateProducerIdsRequest& request, int16_t) {
  wire::AllocateProducerIdsResponse response;
  const auto error = check_broker_epoch(context.image, BrokerId(request.broker_id),
                                        BrokerEpoch(request.broker_epoch));
  const int64_t first = context.image.next_producer_id;
  if (error != wire::ErrorCode::kNone) {
    response.error_code = wire_value(error);
    return response;
  }
  if (first > INT64_MAX - kBlockSize) {
    response.error_code = wire_value(wire::ErrorCode::kUnknownServerError);
    return response;
  }
  wire::ProducerIdsRecord record;
  record.broker_id = request.broker_id;
  record.broker_epoch = request.broker_epoch;
  record.next_producer_id = first + kBlockSize;
  context.add(record, 0);
  response.producer_id_start = first;
  response.producer_id_len = kBlockSize;
  return response;
}

}  // namespace odradek::machines::control
