// BatchFilter: what a cleaning leaves of one batch. Rules: Apache's Cleaner and
// MemoryRecords.filterTo (KIP-534 for the delete horizon).
//
// A record stays if it is the newest of its key, or lies behind what the map knows. A tombstone
// that stays gives its batch a delete horizon; behind that moment it goes. A batch that keeps
// everything is copied as it is; one that keeps a part is written anew, under its own codec, with
// its offsets, sequence numbers and leader epoch.
//
// Compressed records pass through a small window and never exist whole, except those that are
// written anew: at most `rewritten_max` bytes.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "log/batch_view.h"
#include "log/offset_map.h"
#include "wire/compression.h"
#include "wire/record_batch.h"

namespace odradek::log {

/// One record, as far as a cleaning looks at it.
struct CleanRecord {
  int64_t timestamp_delta = 0;
  int32_t offset_delta = 0;
  uint8_t attributes = 0;
  bool has_key = false;
  bool has_value = false;
  KeyHash key;  // with has_key
};

/// Goes through the records of a batch without holding any of them.
class RecordWalker {
 public:
  RecordWalker(const BatchView& batch, wire::Decompressor& d, uint64_t key0, uint64_t key1);

  /// The next record; false after the last. With `content`, what follows the offset delta is
  /// appended to it, up to `content_max` bytes in all (kLimit). kCorrupt if the records do not fit
  /// the batch.
  Result<bool> next(CleanRecord& record, ByteBuffer* content = nullptr, uint64_t content_max = 0);

 private:
  template <class F>
  void pass(uint64_t n, F f);
  Result<bool> end();

  wire::RecordSource source_;
  int32_t left_;
  uint64_t key0_;
  uint64_t key1_;
};

class BatchFilter {
 public:
  struct Rules {
    WallMs now{0};
    Millis delete_retention{0};
    uint64_t rewritten_max = 0;
    uint64_t key0 = 0;  // as the map was filled with
    uint64_t key1 = 0;
  };
  /// The map, and the last offset that it knows.
  BatchFilter(const OffsetMap& map, Offset known, const Rules& rules)
      : map_(map), known_(known), rules_(rules) {}

  /// What is known of the batch from outside.
  struct Fate {
    bool discard = false;       // no record stays: aborted, or a marker whose time has come
    bool keep_empty = false;    // without records its header stays
    bool empty_marker = false;  // a marker that ends nothing any more: gets a delete horizon
  };
  enum class Verdict { kDrop, kCopy, kRewritten };
  /// kCorrupt; kLimit: what is to be written anew has more bytes than may be held.
  Result<Verdict> filter(const BatchView& batch, const Fate& fate, wire::Decompressor& d);
  /// With kRewritten: the batch as it is to be. Good until the next call.
  ByteView rewritten() const { return out_; }
  /// Records that the last batch had and has.
  int32_t records_read() const { return read_; }
  int32_t records_kept() const { return kept_; }

 private:
  struct Found {
    int32_t kept = 0;
    bool tombstone = false;
    WallMs first{0};  // timestamps of what stays
    WallMs max{0};
  };

  bool keeps(const BatchView& batch, const CleanRecord& record) const;
  Result<Found> look(const BatchView& batch, const Fate& fate, wire::Decompressor& d);
  Result<void> rewrite(const BatchView& batch, const Fate& fate, const Found& found, bool horizon,
                       wire::Decompressor& d);
  void write_header(const BatchView& batch, int attributes, WallMs base, WallMs max, int32_t count);

  const OffsetMap& map_;
  Offset known_;
  Rules rules_;
  int32_t read_ = 0;
  int32_t kept_ = 0;
  ByteBuffer out_;
  ByteBuffer content_;
};

}  // namespace odradek::log
