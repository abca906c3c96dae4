// How handlers reach a coordinator's machine, on whatever loop it lives: what group_access.h and
// txn_access.h share.
#pragma once

#include <expected>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "io/task.h"
#include "metadata/broker_config.h"
#include "metadata/image.h"
#include "server/partition_access.h"
#include "server/request.h"
#include "server/services.h"
#include "wire/errors.h"

namespace odradek::server {

namespace detail {
/// Lives on the loop that asks, and with whoever is to answer.
template <class Result>
class Wait {
 public:
  void complete(Result result) {
    if (!done.done()) done.complete(std::move(result));
  }
  io::Completion<Result> done;
};
}  // namespace detail

/// Loop that owns a coordinator's partition; −1 if this node does not lead it.
inline int coordinator_loop(const Services& services, std::string_view name, int32_t partition) {
  const metadata::Topic* topic = services.image->topic(name);
  const metadata::Partition* known = topic != nullptr ? topic->partition(partition) : nullptr;
  if (known == nullptr || known->leader != services.config->node_id()) return -1;
  return owner_of(services, topic->id, partition);
}

/// Has `hosts[owner]->submit(partition, command, done)` called on the loop that owns a partition of
/// topic `name`; the answer is awaited on this loop. Result is std::expected<…, ErrorCode>. With a
/// request, NETWORK_EXCEPTION if its client has gone meanwhile.
template <class Result, class Host, class Command>
io::Task<Result> ask_owner(Services& services, Request* request, std::string_view name,
                           int32_t partition, const std::vector<Host*>& hosts, Command command) {
  const int owner = coordinator_loop(services, name, partition);
  if (owner < 0) co_return std::unexpected(wire::ErrorCode::kNotCoordinator);
  if (request != nullptr && request->is_abandoned())
    co_return std::unexpected(wire::ErrorCode::kNetworkException);
  Host* host = hosts[static_cast<size_t>(owner)];
  auto wait = std::make_shared<detail::Wait<Result>>();
  if (owner == services.loop.index()) {
    host->submit(partition, std::move(command), [wait](Result r) { wait->complete(std::move(r)); });
  } else {
    services.shards[static_cast<size_t>(owner)]->loop().post(
        [host, partition, command = std::move(command), wait, home = &services.loop]() mutable {
          host->submit(partition, std::move(command), [wait, home](Result r) {
            home->post([wait, r = std::move(r)]() mutable { wait->complete(std::move(r)); });
          });
        });
  }
  if (request != nullptr && !wait->done.done()) {
    request->on_abandon(
        [wait] { wait->complete(std::unexpected(wire::ErrorCode::kNetworkException)); });
  }
  Result result = co_await wait->done;
  if (request != nullptr) request->on_abandon({});
  co_return result;
}

}  // namespace odradek::server
