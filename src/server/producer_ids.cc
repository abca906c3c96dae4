#include "server/producer_ids.h"

#include <utility>

#include "base/arena.h"
#include "metadata/broker_config.h"
#include "metadata/image.h"
#include "wire/errors.h"
#include "wire/gen/allocate_producer_ids.h"
#include "wire/reader.h"
#include "wire/writer.h"

namespace odradek::server {

io::Task<std::optional<int64_t>> ProducerIds::next(Services& services) {
  if (block_.empty()) block_ = std::exchange(following_, {});
  for (int attempt = 0; block_.empty() && attempt < 2; attempt++) {
    io::Completion<bool> done;
    waiting_.push_back(&done);
    if (!fetching_) io::spawn(fetch(services));
    co_await done;
    if (block_.empty()) block_ = std::exchange(following_, {});
  }
  if (block_.empty()) co_return std::nullopt;
  const int64_t id = block_.next++;
  const bool nearly_used = block_.end - block_.next <= 100;
  if (nearly_used && following_.empty() && !fetching_) io::spawn(fetch(services));
  co_return id;
}

io::Task<std::optional<int64_t>> next_producer_id(Services& services) {
  if (!services.producer_ids) services.producer_ids = std::make_shared<ProducerIds>();
  return services.producer_ids->next(services);
}

io::Task<void> ProducerIds::fetch(Services& services) {
  fetching_ = true;
  constexpr int16_t kVersion = 0;
  wire::AllocateProducerIdsRequest ask;
  ask.broker_id = services.config->node_id().value;
  const metadata::Broker* self = services.image->broker(services.config->node_id());
  if (self != nullptr) ask.broker_epoch = self->epoch.value;
  wire::Writer writer;
  ask.encode(writer, kVersion);
  Result<ByteBuffer> body = co_await ask_controller(services, wire::ApiKey::kAllocateProducerIds,
                                                    kVersion, writer.take());
  fetching_ = false;
  if (body) {
    Arena arena;
    wire::AllocateProducerIdsResponse answer;
    wire::Reader reader(*body, arena);
    if (answer.decode(reader, kVersion) &&
        answer.error_code == wire::wire_value(wire::ErrorCode::kNone)) {
      following_ = {answer.producer_id_start, answer.producer_id_start + answer.producer_id_len};
    } else {
      services.logger.warn("the controller gave no producer ids: {}",
                           wire::name(static_cast<wire::ErrorCode>(answer.error_code)));
    }
  } else {
    services.logger.warn("no producer ids: {}", body.error().message);
  }
  const auto waiting = std::exchange(waiting_, {});
  for (io::Completion<bool>* done : waiting) done->complete(true);
}

}  // namespace odradek::server
