#include "wire/batch_validator.h"

#include <fmt/format.h>

#include <algorithm>
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
  if (n < -1) source.fail_with(Errc::kInvalid, fmt::format("a {} of length {}", what, n));
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
  if (headers < 0) source.fail_with(Errc::kInvalid, fmt::format("{} record headers", headers));
  for (int32_t i = 0; i < headers && source.ok(); i++) {
    const int32_t n = source.varint();
    if (n < 0) source.fail_with(Errc::kInvalid, "a record header without a key");
    source.skip(n < 0 ? 0 : static_cast<uint32_t>(n));
    skip_nullable(source, "record header");
  }
  if (size < 0 || source.taken() - begin != static_cast<uint64_t>(size))
    source.fail_with(Errc::kInvalid, fmt::format("a record says that it has {} bytes", size));
  return facts;
}

/// a − b as Java's: modulo 2^64.
int64_t wrapping_difference(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) - static_cast<uint64_t>(b));
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

  /// A whole batch with the right checksum. The order of the checks is Apache's.
  bool check_frame() {
    const bool whole = bytes_.size() >= kBatchHeaderSize && batch_.magic() == kMagic;
    if (bytes_.size() >= sizeof(int64_t) && batch_.base_offset() != Offset(0))
      return invalid(
          fmt::format("The batch's base offset is {}, not 0", batch_.base_offset().value));
    if (bytes_.size() > static_cast<size_t>(std::max(rules_.max_message_bytes, 0)))
      return refuse(ErrorCode::kMessageTooLarge,
                    fmt::format("The batch has {} bytes, the topic takes at most {}", bytes_.size(),
                                rules_.max_message_bytes));
    if (!whole || batch_.size() != bytes_.size())
      return refuse(ErrorCode::kCorruptMessage,
                    fmt::format("{} bytes are no batch", bytes_.size()));
    if (const uint32_t crc = batch_.computed_crc(); crc != batch_.crc())
      return refuse(
          ErrorCode::kCorruptMessage,
          fmt::format("The batch's checksum is {:#010x}, not {:#010x}", crc, batch_.crc()));
    return true;
  }

  bool check_header() {
    if (batch_.codec() > Codec::kZstd)
      return refuse(ErrorCode::kUnknownServerError,
                    fmt::format("Codec {} does not exist", static_cast<int>(batch_.codec())));
    if (batch_.count() <= 0)
      return invalid(fmt::format("The batch counts {} records", batch_.count()));
    if (int64_t{batch_.last_offset_delta()} + 1 != batch_.count())
      return invalid(fmt::format("The batch counts {} records and its last offset delta is {}",
                                 batch_.count(), batch_.last_offset_delta()));
    if (batch_.is_control()) return invalid("Clients may not write control records");
    if (batch_.has_producer_id() && batch_.base_sequence() < 0)
      return invalid(fmt::format("The batch has producer id {} and base sequence {}",
                                 batch_.producer_id().value, batch_.base_sequence()));
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
      if (!source.ok()) return refuse_source(source);
      out_.consecutive &= facts.offset_delta == i;
      check_record(i, facts);
    }
    if (!source.at_end())
      return invalid(fmt::format("The batch holds more than its {} records", count));
    if (!source.ok()) return refuse_source(source);
    return check_record_errors() && check_offsets();
  }

  bool refuse_source(const RecordSource& source) {
    if (source.problem().kind != Errc::kInvalid) return refuse_problem(source.problem());
    return invalid(source.problem().message);
  }

  /// A stream that does not follow its codec's format is an error that Apache did not expect.
  bool refuse_problem(const Error& problem) {
    return refuse(
        problem.kind == Errc::kLimit ? ErrorCode::kMessageTooLarge : ErrorCode::kUnknownServerError,
        problem.message);
  }

  /// Apache rewrites a compressed batch whose offset deltas are not consecutive, and fails where it
  /// has read it without keys and values.
  bool check_offsets() {
    const bool rewritten = rules_.target && *rules_.target != batch_.codec();
    if (out_.consecutive || rewritten || batch_.codec() == Codec::kNone) return true;
    return refuse(ErrorCode::kUnknownServerError,
                  "The offset deltas of a compressed batch must be consecutive");
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
    const int64_t age = wrapping_difference(rules_.now.value, timestamp);
    if (age <= rules_.timestamp_before_max.value &&
        wrapping_difference(0, age) <= rules_.timestamp_after_max.value)
      return;
    record_error(
        index, ErrorCode::kInvalidTimestamp,
        fmt::format("Timestamp {} of record {} is out of range: now is {}, it may be {} ms older "
                    "or {} ms newer",
                    timestamp, index, rules_.now.value, rules_.timestamp_before_max.value,
                    rules_.timestamp_after_max.value));
  }

  void record_error(int32_t index, ErrorCode code, std::string text) {
    record_error_count_++;
    if (record_error_code_ != ErrorCode::kInvalidTimestamp) record_error_code_ = code;
    if (out_.records.size() < kRecordErrorsMax) out_.records.push_back({index, std::move(text)});
  }

  /// The whole batch gets one code: INVALID_TIMESTAMP if any record has that.
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

/// The first batch of `bytes` as Apache's reader of buffers sees it: a size, 0 if there is none, or
/// an error.
struct Framed {
  ErrorCode error = ErrorCode::kNone;
  size_t size = 0;
  std::string message{};
};

Framed first_batch(ByteView bytes) {
  constexpr int32_t kLengthMin = 14;  // of a message of the oldest format
  if (bytes.size() < kBatchOverhead) return {};
  const auto length = load_be<int32_t>(bytes.data() + 8);
  if (length < kLengthMin)
    return {.error = ErrorCode::kCorruptMessage,
            .message = fmt::format("A batch of length {} is none", length)};
  if (bytes.size() < kBatchMagicEnd) return {};
  const auto magic = static_cast<int8_t>(bytes[kBatchMagicEnd - 1]);
  if (magic < 0 || magic > kMagic)
    return {.error = ErrorCode::kCorruptMessage,
            .message = fmt::format("There is no magic {}", magic)};
  // Apache's sum of length and overhead is negative then.
  if (length > INT32_MAX - static_cast<int32_t>(kBatchOverhead))
    return {.error = ErrorCode::kUnknownServerError, .message = "The batch is too long"};
  const size_t size = static_cast<size_t>(length) + kBatchOverhead;
  return {.size = size <= bytes.size() ? size : 0};
}

}  // namespace

ProducedBatch find_produced_batch(ByteView records, int16_t version) {
  constexpr int16_t kZstdFrom = 7;
  ProducedBatch out;
  Framed first = first_batch(records);
  if (first.error != ErrorCode::kNone) {
    out.error = first.error;
    out.message = std::move(first.message);
    return out;
  }
  const BatchHeader batch(records.data());
  if (first.size == 0 || batch.magic() != kMagic) {
    out.error = ErrorCode::kInvalidRecord;
    return out;
  }
  out.size = first.size;
  // The least length that passes so far holds the attributes.
  out.transactional = batch.is_transactional();
  const Framed second = first_batch(records.subspan(first.size));
  if (version < kZstdFrom && batch.codec() == Codec::kZstd) {
    out.error = ErrorCode::kUnsupportedCompressionType;
  } else if (second.error != ErrorCode::kNone) {
    out.error = second.error;
  } else if (second.size != 0) {
    out.error = ErrorCode::kInvalidRecord;
  }
  return out;
}

Validation validate_producer_batch(MutableBytes batch, const ValidationRules& rules,
                                   Decompressor& d) {
  return Validator(batch, rules, d).run();
}

Result<ByteBuffer> recompress_renumbered(const BatchHeader& batch, Codec codec,
                                         std::optional<int> level, Decompressor& d,
                                         uint64_t output_max) {
  BatchBuilder builder({.codec = codec,
                        .level = level,
                        .timestamp_type = batch.timestamp_type(),
                        .append_time = batch.max_timestamp(),
                        .transactional = batch.is_transactional(),
                        .producer_id = batch.producer_id(),
                        .producer_epoch = batch.producer_epoch(),
                        .base_sequence = batch.base_sequence()});
  RecordIterator records(batch, d, output_max);
  RecordView record;
  std::vector<RecordHeader> headers;
  while (true) {
    const auto more = records.next(record);
    if (!more) return std::unexpected(more.error());
    if (!*more) break;
    headers.clear();
    record.for_each_header([&](const RecordHeader& h) { headers.push_back(h); });
    builder.add(record.timestamp, record.key, record.value, headers);
  }
  Result<ByteBuffer> out = builder.build();
  // The validator's word counts: a producer's LogAppendTime batch has it from the header.
  if (out && BatchHeader(out->data()).max_timestamp() != batch.max_timestamp()) {
    set_max_timestamp(*out, batch.timestamp_type(), batch.max_timestamp());
  }
  return out;
}

}  // namespace odradek::wire
