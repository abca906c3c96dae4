// Every test vector in both directions: bytes that Apache Kafka 4.3.1 wrote must decode to what
// they say, and encode to the same bytes again. vectors/README.md tells what the files hold and
// names the exceptions (unknown tags are dropped; compressed batches are for decoding).
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <tuple>

#include "base/crc32c.h"
#include "golden/vectors.h"
#include "wire/frame.h"
#include "wire/framed_record.h"
#include "wire/gen/producer_snapshot.h"
#include "wire/gen/quorum_state_data.h"
#include "wire/json.h"
#include "wire/record_batch.h"

namespace odradek::golden {
namespace {

namespace json = boost::json;
using wire::BatchHeader;
using wire::MessageInfo;
using wire::Reader;
using wire::Writer;

json::value base64(ByteView bytes) {
  static constexpr char kDigits[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t v = 0;
    for (size_t k = 0; k < 3; k++) v = v << 8 | (i + k < bytes.size() ? bytes[i + k] : 0U);
    for (size_t k = 0; k < 4; k++)
      out += i + k < bytes.size() + 1 ? kDigits[(v >> (18 - 6 * k)) & 63] : '=';
  }
  return json::value(out);
}
json::value base64(const std::optional<ByteView>& bytes) {
  return bytes ? base64(*bytes) : json::value(nullptr);
}

std::string id_of(const json::object& v) {
  return std::string(text(v, "name")) + " version " + std::to_string(number(v, "version")) + " " +
         std::string(v.contains("case") ? text(v, "case") : "");
}

/// Names of the members of `object` that are not in the tables would be refused by from_json, so
/// this direction checks the schema too.
ByteBuffer encode_json(const MessageInfo& info, int16_t version, const json::value& object,
                       const std::string& id) {
  Arena arena;
  void* message = info.make(arena);
  const auto parsed = from_json(info, message, json::serialize(object), version, arena);
  EXPECT_TRUE(parsed) << id << ": " << (parsed ? "" : parsed.error().message);
  Writer w;
  info.encode(message, w, version);
  EXPECT_FALSE(w.error()) << id << ": " << w.error()->message;
  return w.take();
}

/// Decodes `bytes` completely, compares with `expected` and encodes what was decoded again.
ByteBuffer check_decode(const MessageInfo& info, int16_t version, ByteView bytes,
                        const json::value& expected, const std::string& id) {
  Arena arena;
  void* message = info.make(arena);
  Reader r(bytes, arena);
  const auto decoded = info.decode(message, r, version);
  EXPECT_TRUE(decoded) << id << ": " << (decoded ? "" : decoded.error().message);
  const auto end = r.expect_end(info.name, version);
  EXPECT_TRUE(end) << id << ": " << (end ? "" : end.error().message);
  const std::string out = to_json(info, message, version);
  EXPECT_EQ(json::parse(out), expected) << id << "\n" << out << "\n" << json::serialize(expected);
  Writer w;
  info.encode(message, w, version);
  EXPECT_FALSE(w.error()) << id << ": " << w.error()->message;
  return w.take();
}

/// Both directions for the vectors of a file; `framed` is called for those that carry a prefix.
template <class Framed>
size_t check_messages(const std::string& file, Framed framed) {
  const auto vectors = load_vectors(file);
  // Name, version -> bytes of the case `full`: what is left when unknown tags are dropped.
  std::map<std::pair<std::string, int64_t>, ByteBuffer> full;
  size_t checked = 0;
  for (const json::object& v : vectors) {
    const std::string id = id_of(v);
    const auto version = static_cast<int16_t>(number(v, "version"));
    const MessageInfo* info = wire::find_message(text(v, "name"));
    if (info == nullptr) {
      ADD_FAILURE() << "no message " << id;
      continue;
    }
    const ByteBuffer bytes = from_hex(text(v, "hex"));
    const std::pair key(std::string(text(v, "name")), number(v, "version"));
    if (text(v, "case") == "full") full[key] = bytes;
    const bool unknown = text(v, "case") == "unknown-tags";
    const ByteBuffer& again = unknown ? full.at(key) : bytes;
    EXPECT_EQ(check_decode(*info, version, bytes, v.at("json"), id), again) << id;
    EXPECT_EQ(encode_json(*info, version, v.at("json"), id), again) << id;
    if (v.contains("framed")) framed(v, *info, version, bytes, id);
    checked++;
  }
  printf("%s: %zu vectors checked\n", file.c_str(), checked);
  return checked;
}

TEST(Golden, Messages) {
  EXPECT_EQ(check_messages("messages.jsonl.gz", [](auto&&...) { FAIL() << "a framed message"; }),
            1872U);
}

/// The prefix of a stored record, by what kind it is.
void check_prefix(const json::object& v, const MessageInfo& info, int16_t version,
                  const ByteBuffer& body, const std::string& id) {
  const ByteBuffer framed = from_hex(text(v, "framed"));
  Arena arena;
  Reader r(framed, arena);
  Writer w;
  const std::string_view domain = text(v, "domain");
  if (domain == "metadata" || domain == "storage") {
    const auto header = wire::decode_framed_header(r);
    ASSERT_TRUE(header) << id << header.error().message;
    EXPECT_EQ(header->type, info.key) << id;
    EXPECT_EQ(header->version, version) << id;
    EXPECT_EQ(wire::find_record(info.domain, info.kind, info.key), &info) << id;
    w.uvarint(1);
    w.uvarint(static_cast<uint32_t>(info.key));
    w.uvarint(static_cast<uint32_t>(version));
  } else {
    const auto prefix = wire::decode_record_prefix(r);
    ASSERT_TRUE(prefix) << id;
    EXPECT_EQ(*prefix, info.kind == wire::MessageKind::kKey ? info.key : version) << id;
    w.int16(*prefix);
  }
  EXPECT_EQ(ByteBuffer(r.rest().begin(), r.rest().end()), body) << id;
  w.raw(body);
  EXPECT_EQ(w.take(), framed) << id;
}

TEST(Golden, Records) { EXPECT_EQ(check_messages("records.jsonl.gz", check_prefix), 353U); }

TEST(Golden, EveryMessageAndVersionHasAVector) {
  std::set<std::pair<std::string, int64_t>> seen;
  for (const char* file : {"messages.jsonl.gz", "records.jsonl.gz"})
    for (const json::object& v : load_vectors(file))
      seen.emplace(text(v, "name"), number(v, "version"));
  size_t all = 0;
  for (const MessageInfo* m : wire::all_messages())
    for (int16_t version = m->min; version <= m->max; version++, all++)
      EXPECT_TRUE(seen.contains({std::string(m->name), version})) << m->name << ' ' << version;
  EXPECT_EQ(all, seen.size());
}

void check_request_frame(const json::object& v, const MessageInfo& info, int16_t version,
                         ByteView frame, const std::string& id) {
  Arena arena;
  Reader r(frame.subspan(4), arena);
  wire::RequestHeader header;
  const auto decoded = wire::decode_request_header(r, header);
  ASSERT_TRUE(decoded) << id << decoded.error().message;
  EXPECT_EQ(header.request_api_key, info.key) << id;
  EXPECT_EQ(header.request_api_version, version) << id;
  EXPECT_EQ(header.correlation_id, number(v, "correlationId")) << id;
  const json::value& client = v.at("clientId");
  EXPECT_EQ(header.client_id.has_value(), client.is_string()) << id;
  if (client.is_string()) {
    EXPECT_EQ(*header.client_id, std::string_view(client.as_string())) << id;
  }
  const wire::ApiInfo& api = *wire::find_api(info.key);
  EXPECT_EQ(wire::request_header_version(api, version), number(v, "headerVersion")) << id;
  Writer w;
  const auto mark = w.begin_frame();
  header.encode(w, wire::request_header_version(api, version));
  w.raw(from_hex(text(v, "body")));
  w.end_frame(mark);
  EXPECT_EQ(w.take(), ByteBuffer(frame.begin(), frame.end())) << id;
}

void check_response_frame(const json::object& v, const MessageInfo& info, int16_t version,
                          ByteView frame, const std::string& id) {
  Arena arena;
  Reader r(frame.subspan(4), arena);
  wire::ResponseHeader header;
  ASSERT_TRUE(wire::decode_response_header(r, header, static_cast<wire::ApiKey>(info.key), version))
      << id;
  EXPECT_EQ(header.correlation_id, number(v, "correlationId")) << id;
  const wire::ApiInfo& api = *wire::find_api(info.key);
  EXPECT_EQ(wire::response_header_version(api, version), number(v, "headerVersion")) << id;
  Writer w;
  const auto mark = w.begin_frame();
  header.encode(w, wire::response_header_version(api, version));
  w.raw(from_hex(text(v, "body")));
  w.end_frame(mark);
  EXPECT_EQ(w.take(), ByteBuffer(frame.begin(), frame.end())) << id;
}

TEST(Golden, Frames) {
  size_t checked = 0;
  for (const json::object& v : load_vectors("frames.jsonl.gz")) {
    const std::string id = id_of(v);
    const auto version = static_cast<int16_t>(number(v, "version"));
    const MessageInfo* info = wire::find_message(text(v, "name"));
    ASSERT_NE(info, nullptr) << id;
    const ByteBuffer frame = from_hex(text(v, "hex"));
    EXPECT_EQ(load_be<int32_t>(frame.data()), static_cast<int32_t>(frame.size() - 4)) << id;
    // The body is the `default` case: a default message must give it.
    Arena arena;
    Writer w;
    info->encode(info->make(arena), w, version);
    EXPECT_EQ(w.take(), from_hex(text(v, "body"))) << id;
    if (info->kind == wire::MessageKind::kRequest) {
      check_request_frame(v, *info, version, frame, id);
    } else {
      check_response_frame(v, *info, version, frame, id);
    }
    checked++;
  }
  printf("frames.jsonl.gz: %zu vectors checked\n", checked);
  EXPECT_EQ(checked, 906U);
}

// -- batches --------------------------------------------------------------------------------------

json::object header_json(const BatchHeader& b) {
  return {{"baseOffset", b.base_offset().value},
          {"length", b.length()},
          {"partitionLeaderEpoch", b.leader_epoch().value},
          {"magic", b.magic()},
          {"crc", b.crc()},
          {"attributes", b.attributes()},
          {"lastOffsetDelta", b.last_offset_delta()},
          {"baseTimestamp", b.base_timestamp().value},
          {"maxTimestamp", b.max_timestamp().value},
          {"producerId", b.producer_id().value},
          {"producerEpoch", b.producer_epoch().value},
          {"baseSequence", b.base_sequence()},
          {"count", b.count()}};
}

json::object record_json(const wire::RecordView& r) {
  json::array headers;
  r.for_each_header([&](const wire::RecordHeader& h) {
    headers.push_back(json::array{json::string(h.key), base64(h.value)});
  });
  return {{"offset", r.offset.value},
          {"timestamp", r.timestamp.value},
          {"key", base64(r.key)},
          {"value", base64(r.value)},
          {"headers", headers}};
}

/// The batches of `bytes` as the vectors tell them.
json::array batches_json(ByteView bytes, const std::string& id) {
  json::array out;
  wire::Decompressor d;
  wire::BatchIterator it(bytes);
  for (auto batch = it.next();; batch = it.next()) {
    if (!batch) {
      ADD_FAILURE() << id << batch.error().message;
      break;
    }
    if (!*batch) break;
    const BatchHeader b = **batch;
    EXPECT_TRUE(b.crc_matches()) << id;
    json::object o = header_json(b);
    json::array records;
    wire::RecordIterator rows(b, d);
    wire::RecordView r;
    auto more = rows.next(r);
    for (; more && *more; more = rows.next(r)) records.push_back(record_json(r));
    EXPECT_TRUE(more) << id << ": " << (more ? "" : more.error().message);
    o["records"] = std::move(records);
    out.push_back(std::move(o));
  }
  EXPECT_TRUE(it.rest().empty()) << id;
  return out;
}

/// Whether BatchBuilder can make this batch: offsets without gaps, no codec, nothing of a
/// cleaner's.
bool can_build(const BatchHeader& b) {
  return b.codec() == wire::Codec::kNone && b.count() == b.last_offset_delta() + 1 &&
         !b.has_delete_horizon() && b.timestamp_type() == wire::TimestampType::kCreateTime;
}

ByteBuffer rebuild(const BatchHeader& b) {
  wire::BatchBuilder builder({.base_offset = b.base_offset(),
                              .leader_epoch = b.leader_epoch(),
                              .transactional = b.is_transactional(),
                              .control = b.is_control(),
                              .producer_id = b.producer_id(),
                              .producer_epoch = b.producer_epoch(),
                              .base_sequence = b.base_sequence()});
  wire::Decompressor d;
  wire::RecordIterator rows(b, d);
  wire::RecordView r;
  while (rows.next(r).value()) {
    std::vector<wire::RecordHeader> headers;
    r.for_each_header([&](const wire::RecordHeader& h) { headers.push_back(h); });
    builder.add(r.timestamp, r.key, r.value, headers);
  }
  return builder.build().value();
}

TEST(Golden, Batches) {
  size_t checked = 0;
  size_t rebuilt = 0;
  for (const json::object& v : load_vectors("batches.jsonl.gz")) {
    const std::string id(text(v, "name"));
    const ByteBuffer bytes = from_hex(text(v, "hex"));
    EXPECT_EQ(json::value(batches_json(bytes, id)), v.at("batches")) << id;
    wire::BatchIterator it(bytes);
    for (auto batch = it.next().value(); batch; batch = it.next().value()) {
      if (!can_build(*batch)) continue;
      EXPECT_EQ(rebuild(*batch), ByteBuffer(batch->bytes().begin(), batch->bytes().end())) << id;
      rebuilt++;
    }
    checked++;
  }
  printf("batches.jsonl.gz: %zu vectors checked, %zu batches built again\n", checked, rebuilt);
  EXPECT_EQ(checked, 53U);
  EXPECT_GE(rebuilt, 14U);
}

// -- files ----------------------------------------------------------------------------------------

/// Splits the bytes into rows of fixed width and reads each with f(row).
template <class F>
json::array rows_of(ByteView bytes, size_t width, F f) {
  json::array out;
  EXPECT_EQ(bytes.size() % width, 0U);
  for (; bytes.size() >= width; bytes = bytes.subspan(width)) out.push_back(f(bytes.data()));
  return out;
}

json::value producer_snapshot_json(ByteView bytes) {
  EXPECT_EQ(load_be<int16_t>(bytes.data()), 1);
  Arena arena;
  Reader r(bytes.subspan(2), arena);
  wire::ProducerSnapshot snapshot;
  EXPECT_TRUE(snapshot.decode(r, 1));
  EXPECT_TRUE(r.expect_end("ProducerSnapshot", 1));
  EXPECT_EQ(snapshot.crc, crc32c(bytes.subspan(6)));
  Writer w;
  w.int16(1);
  snapshot.encode(w, 1);
  EXPECT_EQ(w.take(), ByteBuffer(bytes.begin(), bytes.end()));
  json::array out;
  for (const auto& e : snapshot.producer_entries)
    out.push_back(json::array{e.producer_id, e.epoch, e.last_sequence, e.last_offset,
                              e.offset_delta, e.timestamp, e.coordinator_epoch,
                              e.current_txn_first_offset});
  return out;
}

/// quorum-state is QuorumStateData as JSON plus its version.
void check_quorum_state(std::string_view line, const std::string& id) {
  json::object object = json::parse(json::string_view(line.data(), line.size())).as_object();
  const auto version = static_cast<int16_t>(object.at("data_version").as_int64());
  object.erase("data_version");
  Arena arena;
  wire::QuorumStateData data;
  const auto parsed = wire::from_json(data, json::serialize(object), version, arena);
  ASSERT_TRUE(parsed) << id << parsed.error().message;
  std::string again = wire::to_json(data, version);
  again.insert(again.size() - 1, ",\"data_version\":" + std::to_string(version));
  EXPECT_EQ(again, line) << id;
}

json::value parsed_file(const json::object& v, ByteView bytes, const std::string& id) {
  const std::string_view kind = text(v, "kind");
  const int64_t base = v.contains("baseOffset") ? number(v, "baseOffset") : 0;
  if (kind == "offset-index")
    return rows_of(bytes, 8, [&](const uint8_t* p) {
      return json::array{base + load_be<int32_t>(p), load_be<int32_t>(p + 4)};
    });
  if (kind == "time-index")
    return rows_of(bytes, 12, [&](const uint8_t* p) {
      return json::array{load_be<int64_t>(p), base + load_be<int32_t>(p + 8)};
    });
  if (kind == "txn-index")
    return rows_of(bytes, 34, [&](const uint8_t* p) {
      EXPECT_EQ(load_be<int16_t>(p), 0);
      return json::array{load_be<int64_t>(p + 2), load_be<int64_t>(p + 10),
                         load_be<int64_t>(p + 18), load_be<int64_t>(p + 26)};
    });
  if (kind == "producer-snapshot") return producer_snapshot_json(bytes);
  if (kind == "batches") return batches_json(bytes, id);
  EXPECT_EQ(kind, "text");
  if (id.starts_with("quorum-state")) check_quorum_state(as_text(bytes), id);
  return json::value(as_text(bytes));
}

TEST(Golden, Files) {
  size_t checked = 0;
  for (const json::object& v : load_vectors("files.jsonl.gz")) {
    const std::string id(text(v, "file"));
    const ByteBuffer bytes = from_hex(text(v, "hex"));
    EXPECT_EQ(parsed_file(v, bytes, id), v.at("expect")) << id;
    checked++;
  }
  printf("files.jsonl.gz: %zu vectors checked\n", checked);
  EXPECT_EQ(checked, 16U);
}

// -- the check itself -----------------------------------------------------------------------------

TEST(Golden, AFlippedByteIsNoticed) {
  // Canary: in every seventh vector one byte is changed; decoding must fail or tell something else.
  size_t noticed = 0;
  size_t tried = 0;
  const auto vectors = load_vectors("messages.jsonl.gz");
  for (size_t i = 0; i < vectors.size(); i += 7) {
    const json::object& v = vectors[i];
    ByteBuffer bytes = from_hex(text(v, "hex"));
    if (bytes.empty() || text(v, "case") != "full") continue;
    bytes[bytes.size() / 2] ^= 0x15;
    const auto version = static_cast<int16_t>(number(v, "version"));
    const MessageInfo& info = *wire::find_message(text(v, "name"));
    Arena arena;
    void* message = info.make(arena);
    Reader r(bytes, arena);
    tried++;
    if (!info.decode(message, r, version) || !r.expect_end(info.name, version)) {
      noticed++;
    } else {
      boost::system::error_code error;
      const std::string out = to_json(info, message, version);
      const json::value now = json::parse(out, error);
      if (error || now != v.at("json")) noticed++;
    }
  }
  EXPECT_GT(tried, 50U);
  EXPECT_EQ(noticed, tried);
}

}  // namespace
}  // namespace odradek::golden
