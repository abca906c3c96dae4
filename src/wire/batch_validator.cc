#include "wire/batch_validator.h"

#include <fmt/format.h>

#include <limits>
#include <string_view>
#include <type_traits>

namespace odradek::wire {

namespace {

/// The parts of a record that the rules look at.
struct RecordFacts {
  int64_t timestamp_delta = 0;
  int32_t offset_delta = 0;
  bool has_key = false;
};

/// Reads a length that may be null and passes over its bytes; true if it was not null.
bool skip_nullable(RecordSource& source, std::string_view what) {
  const int32_t n = source.varint();
  if (n < -1) source.fail_with(Errc::kCorrupt, fmt::format("a {} of length {}", what, n));
  if (n < 0) return false;
  source.skip(static_cast<uint32_t>(n));
  return true;
}

/// Reads a zigzag varint of at most 5 (uint32_t) or 10 bytes below `end`; false if there is none.
/// Bits beyond U are dropped, as Reader does.
template <class U>
bool take_varint(const uint8_t*& p, const uint8_t* end, int64_t& out) {
  constexpr int kBytesMax = sizeof(U) == 4 ? 5 : 10;
  U value = 0;
  for (int i = 0; i < kBytesMax && p != end; i++) {
    const uint8_t byte = *p++;
    value |= static_cast<U>(byte & 0x7f) << (7 * i);
    if (byte < 0x80) {
      const U magnitude = value >> 1;
      out = static_cast<std::make_signed_t<U>>((value & 1) != 0 ? ~magnitude : magnitude);
      return true;
    }
  }
  return false;
}

/// The hot path: a record that lies whole in what is available. False, and nothing taken, if it
/// does not, or if anything is wrong with it: walk_record then finds out what.
bool walk_available(RecordSource& source, RecordFacts& facts) {
  const ByteView bytes = source.available();
  const uint8_t* p = bytes.data();
  const uint8_t* end = p + bytes.size();
  int64_t n = 0;
  if (!take_varint<uint32_t>(p, end, n) || n < 1 || n > end - p) return false;
  end = p + n;
  p++;  // attributes, unused
  const auto skip = [&]() {
    if (!take_varint<uint32_t>(p, end, n) || n < -1 || n > end - p) return false;
    if (n > 0) p += n;
    return true;
  };
  if (!take_varint<uint64_t>(p, end, facts.timestamp_delta) || !take_varint<uint32_t>(p, end, n))
    return false;
  facts.offset_delta = static_cast<int32_t>(n);
  if (!skip()) return false;
  facts.has_key = n >= 0;
  int64_t headers = 0;
  if (!skip() || !take_varint<uint32_t>(p, end, headers) || headers < 0) return false;
  for (; headers > 0; headers--)
    if (!skip() || n < 0 || !skip()) return false;
  if (p != end) return false;
  source.skip(static_cast<uint64_t>(p - bytes.data()));
  return true;
}

/// Walks over one record; errors are the source's.
RecordFacts walk_record(RecordSource& source) {
  RecordFacts facts;
  if (walk_available(source, facts)) [[likely]]
    return facts;
  facts = {};
  const int32_t size = source.varint();
  const uint64_t begin = source.taken();
  source.byte();  // attributes, unused
  facts.timestamp_delta = source.varlong();
  facts.offset_delta = source.varint();
  facts.has_key = skip_nullable(source, "key");
  skip_nullable(source, "value");
  const int32_t headers = source.varint();
  if (headers < 0) source.fail_with(Errc::kCorrupt, fmt::format("{} record headers", headers));
  for (int32_t i = 0; i < headers && source.ok(); i++) {
    const int32_t n = source.varint();
    if (n < 0) source.fail_with(Errc::kCorrupt, "a record header without a key");
    source.skip(n < 0 ? 0 : static_cast<uint32_t>(n));
    skip_nullable(source, "record header");
  }
  if (size < 0 || source.taken() - begin != static_cast<uint64_t>(size))
    source.fail_with(Errc::kCorrupt, fmt::format("a record says that it has {} bytes", size));
  return facts;
}

/// a − b, at the ends of the range where it does not fit.
int64_t saturating_difference(int64_t a, int64_t b) {
  int64_t out = 0;
  if (!__builtin_sub_overflow(a, b, &out)) return out;
  return b > 0 ? std::numeric_limits<int64_t>::min() : std::numeric_limits<int64_t>::max();
}

class Validator {
 public:
  Validator(MutableBytes records, const ValidationRules& rules, Decompressor& d)
      : bytes_(records), rules_(rules), decompressor_(d), batch_(records.data()) {}

  Validation run() {
    if (check_frame() && check_header() && walk()) stamp();
    return std::move(out_);
  }

 private:
  bool refuse(ErrorCode code, std::string text) {
    out_.error = code;
    out_.message = std::move(text);
    return false;
  }
  bool invalid(std::string text) { return refuse(ErrorCode::kInvalidRecord, std::move(text)); }

  /// Exactly one whole batch of magic 2, with the right checksum.
  bool check_frame() {
    if (bytes_.empty()) return invalid("A produce request must hold one batch for each partition");
    if (bytes_.size() < kBatchMagicEnd)
      return refuse(ErrorCode::kCorruptMessage,
                    fmt::format("{} bytes are no batch", bytes_.size()));
    if (batch_.magic() == 0 || batch_.magic() == 1)
      return invalid(fmt::format("Batches of magic {} are not accepted, only 2", batch_.magic()));
    const auto parsed = BatchHeader::parse(bytes_);
    if (!parsed) return refuse(ErrorCode::kCorruptMessage, parsed.error().message);
    if (batch_.size() != bytes_.size())
      return invalid("A produce request must hold exactly one batch for each partition");
    if (batch_.size() > static_cast<size_t>(std::max(rules_.max_message_bytes, 0)))
      return refuse(ErrorCode::kMessageTooLarge,
                    fmt::format("The batch has {} bytes, the topic takes at most {}", batch_.size(),
                                rules_.max_message_bytes));
    if (const uint32_t crc = batch_.computed_crc(); crc != batch_.crc())
      return refuse(
          ErrorCode::kCorruptMessage,
          fmt::format("The batch's checksum is {:#010x}, not {:#010x}", crc, batch_.crc()));
    return true;
  }

  bool check_header() {
    if (batch_.base_offset() != Offset(0))
      return invalid(
          fmt::format("The batch's base offset is {}, not 0", batch_.base_offset().value));
    if (batch_.count() <= 0)
      return invalid(fmt::format("The batch counts {} records", batch_.count()));
    if (int64_t{batch_.last_offset_delta()} + 1 != batch_.count())
      return invalid(fmt::format("The batch counts {} records and its last offset delta is {}",
                                 batch_.count(), batch_.last_offset_delta()));
    if (batch_.is_control()) return invalid("Clients may not write control records");
    if (batch_.has_producer_id() && batch_.base_sequence() < 0)
      return invalid(fmt::format("The batch has producer id {} and base sequence {}",
                                 batch_.producer_id().value, batch_.base_sequence()));
    if (batch_.codec() > Codec::kZstd)
      return refuse(ErrorCode::kUnsupportedCompressionType,
                    fmt::format("Codec {} does not exist", static_cast<int>(batch_.codec())));
    if (batch_.codec() == Codec::kZstd && !rules_.zstd_allowed)
      return refuse(ErrorCode::kUnsupportedCompressionType,
                    "Produce requests below version 7 may not carry zstd");
    return true;
  }

  /// One pass over the records.
  bool walk() {
    RecordSource source{ByteView()};
    if (batch_.codec() == Codec::kNone) {
      source = RecordSource(batch_.records());
    } else {
      source = RecordSource(decompressor_);
      const auto started =
          decompressor_.start(batch_.codec(), batch_.records(), rules_.decompressed_max);
      if (!started) return refuse_problem(started.error());
    }
    const int32_t count = batch_.count();
    for (int32_t i = 0; i < count; i++) {
      const RecordFacts facts = walk_record(source);
      if (!source.ok()) return refuse_problem(source.problem());
      if (facts.offset_delta != i)
        return invalid(fmt::format("Record {} has the offset delta {}", i, facts.offset_delta));
      check_record(i, facts);
    }
    if (!source.at_end())
      return invalid(fmt::format("The batch holds more than its {} records", count));
    if (!source.ok()) return refuse_problem(source.problem());
    return check_record_errors();
  }

  bool refuse_problem(const Error& problem) {
    switch (problem.kind) {
      case Errc::kLimit:
        return refuse(ErrorCode::kMessageTooLarge, problem.message);
      case Errc::kUnsupported:
        return refuse(ErrorCode::kUnsupportedCompressionType, problem.message);
      default:
        return invalid(problem.message);
    }
  }

  void check_record(int32_t index, const RecordFacts& facts) {
    const bool append_time = batch_.timestamp_type() == TimestampType::kLogAppendTime;
    const int64_t timestamp =
        append_time ? batch_.max_timestamp().value
                    : wrapping_add(batch_.base_timestamp().value, facts.timestamp_delta);
    if (timestamp > out_.max_timestamp.value) {
      out_.max_timestamp = WallMs(timestamp);
      out_.max_timestamp_offset_delta = index;
    }
    if (rules_.compacted && !facts.has_key) {
      record_error(index, ErrorCode::kInvalidRecord,
                   "A compacted topic takes no record without a key");
    } else if (rules_.timestamp_type == TimestampType::kCreateTime && timestamp != -1) {
      check_timestamp(index, timestamp);
    } else if (append_time) {
      record_error(index, ErrorCode::kInvalidTimestamp,
                   "A producer may not set the timestamp type to LogAppendTime");
    }
  }

  void check_timestamp(int32_t index, int64_t timestamp) {
    const int64_t age = saturating_difference(rules_.now.value, timestamp);
    if (age <= rules_.timestamp_before_max.value &&
        (age >= 0 || age >= -rules_.timestamp_after_max.value))
      return;
    record_error(
        index, ErrorCode::kInvalidTimestamp,
        fmt::format("Timestamp {} of record {} is out of range: now is {}, it may be {} ms older "
                    "or {} ms newer",
                    timestamp, index, rules_.now.value, rules_.timestamp_before_max.value,
                    rules_.timestamp_after_max.value));
  }

  void record_error(int32_t index, ErrorCode code, std::string text) {
    if (record_error_count_++ == 0) record_error_code_ = code;
    if (out_.records.size() < kRecordErrorsMax) out_.records.push_back({index, std::move(text)});
  }

  /// The first error decides which code the whole batch gets.
  bool check_record_errors() {
    if (record_error_count_ == 0) return true;
    return refuse(record_error_code_,
                  fmt::format("{} records of the batch are not accepted, first: {}",
                              record_error_count_, out_.records.front().message));
  }

  void stamp() {
    if (rules_.timestamp_type == TimestampType::kLogAppendTime) {
      out_.max_timestamp = rules_.now;
      // Every record has the same time, so the last is as good as any and is what Apache answers.
      out_.max_timestamp_offset_delta = batch_.last_offset_delta();
    }
    if (batch_.timestamp_type() == rules_.timestamp_type &&
        batch_.max_timestamp() == out_.max_timestamp)
      return;
    set_max_timestamp(bytes_, rules_.timestamp_type, out_.max_timestamp);
    out_.stamped = true;
  }

  MutableBytes bytes_;
  const ValidationRules& rules_;
  Decompressor& decompressor_;
  BatchHeader batch_;
  Validation out_;
  size_t record_error_count_ = 0;
  ErrorCode record_error_code_ = ErrorCode::kNone;
};

}  // namespace

Validation validate_producer_batch(MutableBytes records, const ValidationRules& rules,
                                   Decompressor& d) {
  return Validator(records, rules, d).run();
}

}  // namespace odradek::wire
