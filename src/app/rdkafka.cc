#include "app/rdkafka.h"

#include <fmt/format.h>

namespace odradek::app {

Result<RdPtr<rd_kafka_t>> make_client(
    rd_kafka_type_t type, const std::string& bootstrap, const std::vector<std::string>& properties,
    void (*delivery)(rd_kafka_t*, const rd_kafka_message_t*, void*), void* opaque) {
  char why[512];
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  std::vector<std::string> all{"bootstrap.servers=" + bootstrap, "client.id=odradek-cli",
                               "log_level=3"};
  all.insert(all.end(), properties.begin(), properties.end());
  for (const auto& item : all) {
    size_t eq = item.find('=');
    if (eq == std::string::npos) {
      rd_kafka_conf_destroy(conf);
      return fail(Errc::kInvalid, fmt::format("a property is name=value, not '{}'", item));
    }
    if (rd_kafka_conf_set(conf, item.substr(0, eq).c_str(), item.substr(eq + 1).c_str(), why,
                          sizeof why) != RD_KAFKA_CONF_OK) {
      rd_kafka_conf_destroy(conf);
      return fail(Errc::kInvalid, why);
    }
  }
  if (delivery != nullptr) rd_kafka_conf_set_dr_msg_cb(conf, delivery);
  rd_kafka_conf_set_opaque(conf, opaque);
  rd_kafka_t* client = rd_kafka_new(type, conf, why, sizeof why);
  if (client == nullptr) {
    rd_kafka_conf_destroy(conf);
    return fail(Errc::kInvalid, why);
  }
  return RdPtr<rd_kafka_t>(client);
}

}  // namespace odradek::app
