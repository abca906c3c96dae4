// The target for settings: property files, and values of single settings.
#include <span>
#include <string>
#include <string_view>

#include "base/check.h"
#include "fuzz/targets.h"
#include "metadata/broker_config.h"
#include "metadata/config_defs.h"
#include "metadata/properties.h"

namespace odradek::fuzz {

namespace {

void one_value(std::span<const metadata::ConfigDef> defs, ByteView input) {
  if (input.size() < 2) return;
  const metadata::ConfigDef& def = defs[load_be<uint16_t>(input.data()) % defs.size()];
  const std::string_view text = as_text(input.subspan(2));
  auto value = metadata::parse_config(def, text);
  if (!value) {
    ODRADEK_CHECK(!value.error().message.empty());
    return;
  }
  // What is shown of it must be accepted, and be the same.
  const auto shown = metadata::config_text(*value);
  auto again = metadata::parse_config(def, shown);
  ODRADEK_CHECK(again.has_value());
  ODRADEK_CHECK(metadata::config_text(*again) == shown);
}

void whole_file(std::string_view text) {
  auto properties = metadata::parse_properties(text);
  if (!properties) return;
  auto loaded = metadata::BrokerConfig::load(*properties);
  if (!loaded) {
    ODRADEK_CHECK(!loaded.error().message.empty());
    return;
  }
  ODRADEK_CHECK(!loaded->config->log_dirs().empty());
  ODRADEK_CHECK(!loaded->config->listeners().empty());
}

}  // namespace

void config(ByteView input) {
  if (input.empty()) return;
  const ByteView rest = input.subspan(1);
  switch (input[0] % 7) {
    case 0: {
      auto ignored = metadata::parse_properties(as_text(rest));
      return;
    }
    case 1:
      return whole_file(as_text(rest));
    case 2: {
      auto parsed = metadata::parse_override(as_text(rest));
      ODRADEK_CHECK(!parsed || !parsed->first.empty());
      return;
    }
    case 3:
      return one_value(metadata::broker_configs(), rest);
    case 4:
      return one_value(metadata::topic_configs(), rest);
    case 5:
      return one_value(metadata::group_configs(), rest);
    default:
      return one_value(metadata::client_metrics_configs(), rest);
  }
}

}  // namespace odradek::fuzz
