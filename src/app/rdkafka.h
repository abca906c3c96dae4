// Thin ownership around librdkafka's C API for `produce` and `consume`.
#pragma once

#include <librdkafka/rdkafka.h>

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"

namespace odradek::app {

struct RdDeleter {
  void operator()(rd_kafka_t* k) const { rd_kafka_destroy(k); }
  void operator()(rd_kafka_message_t* m) const { rd_kafka_message_destroy(m); }
  void operator()(rd_kafka_topic_partition_list_t* l) const {
    rd_kafka_topic_partition_list_destroy(l);
  }
  void operator()(const rd_kafka_metadata_t* m) const { rd_kafka_metadata_destroy(m); }
};
template <class T>
using RdPtr = std::unique_ptr<T, RdDeleter>;

/// A client with `bootstrap.servers` and further `name=value` properties; `delivery` may be null.
Result<RdPtr<rd_kafka_t>> make_client(
    rd_kafka_type_t type, const std::string& bootstrap, const std::vector<std::string>& properties,
    void (*delivery)(rd_kafka_t*, const rd_kafka_message_t*, void*), void* opaque);

}  // namespace odradek::app
