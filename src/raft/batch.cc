#include "raft/batch.h"

#include <fmt/format.h>

#include "base/arena.h"
#include "wire/compression.h"
#include "wire/gen/kraft_version_record.h"
#include "wire/gen/voters_record.h"
#include "wire/reader.h"

namespace odradek::raft {

namespace {

std::unexpected<Error> corrupt(const wire::BatchHeader& header, std::string_view what) {
  return fail(Errc::kCorrupt,
              fmt::format("metadata batch at offset {}: {}", header.base_offset().value, what));
}

template <class T>
Result<T> decode_control(ByteView value, Arena& arena, const char* name) {
  T message;
  wire::Reader reader(value, arena);
  if (auto r = message.decode(reader, 0); !r) return std::unexpected(r.error());
  if (auto r = reader.expect_end(name, 0); !r) return std::unexpected(r.error());
  return message;
}

}  // namespace

Result<Batch> read_batch(const wire::BatchHeader& header) {
  if (!header.crc_matches()) return corrupt(header, "wrong checksum");
  if (header.codec() != wire::Codec::kNone) return corrupt(header, "compressed");
  Batch batch{.base = header.base_offset(),
              .last = header.last_offset(),
              .epoch = header.leader_epoch(),
              .appended = header.max_timestamp(),
              .bytes = header.size()};
  wire::Decompressor unused;
  wire::RecordIterator records(header, unused);
  wire::RecordView record;
  while (true) {
    auto more = records.next(record);
    if (!more) return std::unexpected(more.error());
    if (!*more) break;
    if (!record.value) return corrupt(header, "a record without value");
    if (header.is_control()) {
      auto type = wire::control_type(record);
      if (!type) return std::unexpected(type.error());
      batch.controls.push_back({*type, *record.value});
    } else {
      if (record.key) return corrupt(header, "a record with a key");
      batch.values.push_back(*record.value);
    }
  }
  return batch;
}

Result<void> VoterHistory::apply(const Batch& batch) {
  Arena arena;
  for (const ControlRecord& control : batch.controls) {
    if (control.type == wire::ControlType::kKraftVersion) {
      auto r = decode_control<wire::KRaftVersionRecord>(control.value, arena, "KRaftVersionRecord");
      if (!r) return std::unexpected(r.error());
      kraft_version_ = r->kraft_version;
      if (current_) current_->kraft_version = kraft_version_;
    }
    if (control.type != wire::ControlType::kKraftVoters) continue;
    auto r = decode_control<wire::VotersRecord>(control.value, arena, "VotersRecord");
    if (!r) return std::unexpected(r.error());
    VoterSet set{.kraft_version = kraft_version_};
    for (const auto& v : r->voters) {
      Voter voter{.id = BrokerId(v.voter_id),
                  .directory = v.voter_directory_id,
                  .kraft_version_min = v.kraft_version_feature.min_supported_version,
                  .kraft_version_max = v.kraft_version_feature.max_supported_version};
      for (const auto& e : v.endpoints)
        voter.endpoints.push_back({std::string(e.name), std::string(e.host), e.port});
      set.voters.push_back(std::move(voter));
    }
    current_ = std::move(set);
  }
  return {};
}

void add_voter_records(wire::BatchBuilder& builder, WallMs now, const VoterSet& voters) {
  wire::KRaftVersionRecord version;
  version.kraft_version = voters.kraft_version;
  builder.add_control(now, wire::ControlType::kKraftVersion, version);

  Arena arena;
  wire::VotersRecord record;
  for (const Voter& voter : voters.voters) {
    auto& v = record.voters.add(arena);
    v.voter_id = voter.id.value;
    v.voter_directory_id = voter.directory;
    for (const VoterEndpoint& endpoint : voter.endpoints) {
      auto& e = v.endpoints.add(arena);
      e.name = endpoint.name;
      e.host = endpoint.host;
      e.port = endpoint.port;
    }
    v.kraft_version_feature.min_supported_version = voter.kraft_version_min;
    v.kraft_version_feature.max_supported_version = voter.kraft_version_max;
  }
  builder.add_control(now, wire::ControlType::kKraftVoters, record);
}

}  // namespace odradek::raft
