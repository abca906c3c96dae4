#include "machines/group/metadata_hash.h"

#include <xxhash.h>

#include <algorithm>
#include <vector>

#include "base/bytes.h"
#include "wire/java_hash.h"

namespace odradek::machines::group {

namespace {

/// What Java's hash stream is fed: numbers in little endian, text in UTF-16.
class Bytes {
 public:
  void byte(uint8_t value) { bytes_.push_back(value); }
  void int32(int32_t value) { number(static_cast<uint32_t>(value), 4); }
  void int64(uint64_t value) { number(value, 8); }
  /// The units, then how many they were.
  void text(std::string_view text) {
    int32_t units = 0;
    wire::for_each_utf16_unit(text, [&](uint32_t unit) {
      number(unit, 2);
      units++;
    });
    int32(units);
  }
  uint64_t hash() const { return XXH3_64bits(bytes_.data(), bytes_.size()); }

 private:
  void number(uint64_t value, int size) {
    for (int i = 0; i < size; i++) bytes_.push_back(static_cast<uint8_t>(value >> (8 * i)));
  }
  std::vector<uint8_t> bytes_;
};

std::u16string java_text(std::string_view text) {
  std::u16string out;
  wire::for_each_utf16_unit(text, [&](uint32_t unit) { out += static_cast<char16_t>(unit); });
  return out;
}

/// Of the replicas that have one, each counting, in Java's order.
std::vector<std::string_view> racks_of(const metadata::Partition& partition,
                                       const metadata::Image& image) {
  std::vector<std::string_view> racks;
  for (const BrokerId id : partition.replicas) {
    const metadata::Broker* broker = image.broker(id);
    if (broker != nullptr && broker->rack) racks.emplace_back(*broker->rack);
  }
  std::ranges::sort(racks, {}, java_text);
  return racks;
}

uint64_t topic_hash(const metadata::Topic& topic, const metadata::Image& image) {
  Bytes bytes;
  bytes.byte(0);  // version of this hash
  bytes.int64(topic.id.high);
  bytes.int64(topic.id.low);
  bytes.text(topic.name);
  bytes.int32(static_cast<int32_t>(topic.partitions.size()));
  for (size_t i = 0; i < topic.partitions.size(); i++) {
    bytes.int32(static_cast<int32_t>(i));
    if (!topic.partitions[i]) continue;
    for (std::string_view rack : racks_of(*topic.partitions[i], image)) {
      bytes.int32(static_cast<int32_t>(java_text(rack).size()));
      bytes.text(rack);
    }
  }
  return bytes.hash();
}

}  // namespace

int64_t metadata_hash(const TopicNames& topics, const metadata::Image& image) {
  Bytes bytes;
  bool any = false;
  for (const std::string& name : topics) {
    const metadata::Topic* topic = image.topic(name);
    if (topic == nullptr) continue;
    bytes.int64(topic_hash(*topic, image));
    any = true;
  }
  return any ? static_cast<int64_t>(bytes.hash()) : 0;
}

}  // namespace odradek::machines::group
