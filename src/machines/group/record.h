// Record: what changes the state of the group coordinator.
//
// Stored records lie in `__consumer_offsets` exactly as Apache writes them: a key with its type, a
// value with its version, or no value (a tombstone). Beside them there are soft records, which
// replay applies and nobody stores: members that wait, generations under way, the cluster's
// metadata.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "base/bytes.h"
#include "base/check.h"
#include "base/ids.h"
#include "metadata/image.h"
#include "wire/framed_record.h"
#include "wire/writer.h"

namespace odradek::machines::group {

struct ClassicGroup;
struct Settings;

/// A key and value as they lie in the log.
struct Stored {
  std::string key;                   // int16 type, body
  std::optional<std::string> value;  // int16 version, body
  /// Of a batch that belongs to a transaction: counts when its marker says so. −1: none.
  ProducerId producer{-1};
  ProducerEpoch epoch{-1};  // only to be written
  bool operator==(const Stored&) const = default;
};

/// The end of a transaction.
struct Marker {
  ProducerId producer;
  bool committed = false;
  // only to be written
  ProducerEpoch epoch{-1};
  int32_t coordinator_epoch = -1;
  int16_t version = 0;  // transaction.version
  bool operator==(const Marker&) const = default;
};

/// What is known of a classic group beyond its last stored record.
struct SoftGroup {
  std::string group;
  std::shared_ptr<const ClassicGroup> state;
  bool operator==(const SoftGroup&) const = default;
};

/// What decisions go by from now on. Null: as before.
struct SoftMetadata {
  metadata::ImagePtr image;
  std::shared_ptr<const Settings> settings;
  bool new_topics = false;
  bool operator==(const SoftMetadata&) const = default;
};

/// The metadata hash of a group was compared with that of the cluster.
struct SoftChecked {
  std::string group;
  uint64_t metadata_version = 0;
  bool operator==(const SoftChecked&) const = default;
};

struct Record {
  std::variant<Stored, Marker, SoftGroup, SoftMetadata, SoftChecked> body;

  bool operator==(const Record&) const = default;
  bool soft() const {
    return !std::holds_alternative<Stored>(body) && !std::holds_alternative<Marker>(body);
  }
  const Stored& stored() const { return std::get<Stored>(body); }
  /// Null if it is no marker.
  const Marker* ending() const { return std::get_if<Marker>(&body); }
  /// A batch belongs to one transaction or to none; a marker is one.
  bool apart() const {
    if (soft()) return false;
    return ending() != nullptr || stored().producer.value >= 0;
  }

  /// Must be expressible in `version`: what we write ourselves always is.
  template <class Key, class Value>
  static Record of(const Key& key, const Value& value, int16_t version) {
    wire::Writer w;
    wire::encode_record_value(w, value, version);
    return {Stored{key_of(key), take(w)}};
  }
  template <class Key>
  static Record tombstone(const Key& key) {
    return {Stored{key_of(key), std::nullopt}};
  }

  /// As it was found in the log.
  static Record loaded(ByteView key, const std::optional<ByteView>& value, ProducerId producer) {
    Stored s{std::string(as_text(key)), std::nullopt, producer};
    if (value) s.value = std::string(as_text(*value));
    return {std::move(s)};
  }
  static Record marker(ProducerId producer, bool committed) {
    return {Marker{producer, committed}};
  }

  /// One line for people and tests: `OffsetCommitKey {…} OffsetCommitValue v4 {…}`.
  std::string to_line() const;

 private:
  template <class Key>
  static std::string key_of(const Key& key) {
    wire::Writer w;
    wire::encode_record_key(w, key);
    return take(w);
  }
  static std::string take(wire::Writer& w) {
    ODRADEK_CHECK(!w.error());
    return std::string(as_text(w.view()));
  }
};

}  // namespace odradek::machines::group
