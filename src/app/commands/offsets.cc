// `odradek offsets TOPIC…`: first and next offset of every partition, or the offset of a moment.
#include <fmt/format.h>

#include <map>
#include <memory>

#include "app/cli.h"
#include "wire/gen/list_offsets.h"
#include "wire/gen/metadata.h"

namespace odradek::app {

namespace {

constexpr int64_t kLatest = -1;
constexpr int64_t kEarliest = -2;

struct OffsetsOptions {
  std::vector<std::string> topics;
  std::optional<int64_t> time;
};

/// (topic, partition) → offset for one timestamp.
using Offsets = std::map<std::pair<std::string, int32_t>, int64_t>;

Result<Offsets> ask(AdminClient& client, const wire::MetadataResponse& metadata, int64_t timestamp,
                    Arena& arena) {
  wire::ListOffsetsRequest request;
  request.replica_id = -1;
  request.timeout_ms = 30000;
  for (const auto& t : metadata.topics) {
    if (t.error_code != 0) continue;
    auto& topic = request.topics.add(arena);
    topic.name = t.name.value_or("");
    for (const auto& p : t.partitions) {
      auto& partition = topic.partitions.add(arena);
      partition.partition_index = p.partition_index;
      partition.timestamp = timestamp;
    }
  }
  auto answer = client.call<wire::ListOffsetsRequest, wire::ListOffsetsResponse>(request, arena);
  if (!answer) return std::unexpected(answer.error());
  Offsets out;
  for (const auto& t : answer->topics)
    for (const auto& p : t.partitions) {
      if (p.error_code != 0)
        return fail(Errc::kIo, fmt::format("{}-{}: {}", t.name, p.partition_index,
                                           describe_error(p.error_code, {})));
      out[{std::string(t.name), p.partition_index}] = p.offset;
    }
  return out;
}

void offsets(Cli& cli, const OffsetsOptions& options) {
  auto client = connect_or_report(cli);
  if (!client) return;
  Arena arena;
  wire::MetadataRequest request;
  request.allow_auto_topic_creation = false;
  if (!options.topics.empty()) {
    request.topics.emplace();
    for (const auto& name : options.topics) request.topics->add(arena).name = name;
  } else {
    request.topics = std::nullopt;
  }
  auto metadata = client->call<wire::MetadataRequest, wire::MetadataResponse>(request, arena);
  if (!metadata) return report(cli, metadata.error().message);
  for (const auto& t : metadata->topics)
    if (t.error_code != 0)
      report(cli,
             fmt::format("topic {}: {}", t.name.value_or(""), describe_error(t.error_code, {})));
  auto first = ask(*client, *metadata, options.time.value_or(kEarliest), arena);
  if (!first) return report(cli, first.error().message);
  auto next = ask(*client, *metadata, kLatest, arena);
  if (!next) return report(cli, next.error().message);
  std::vector<std::vector<std::string>> rows;
  boost::json::array out;
  const char* what = options.time ? "offset" : "first";
  for (const auto& [where, offset] : *first) {
    int64_t end = (*next)[where];
    rows.push_back(
        {where.first, std::to_string(where.second), std::to_string(offset), std::to_string(end)});
    out.push_back(
        {{"topic", where.first}, {"partition", where.second}, {what, offset}, {"next", end}});
  }
  if (cli.json) return print_json(out);
  print_table({"TOPIC", "PARTITION", options.time ? "OFFSET AT TIME" : "FIRST", "NEXT"}, rows);
}

}  // namespace

void add_offsets(CLI::App& program, Cli& cli) {
  auto* command =
      program.add_subcommand("offsets", "Show the first and the next offset of every partition");
  auto options = std::make_shared<OffsetsOptions>();
  command->add_option("topic", options->topics, "topics (default: all)");
  command->add_option("--time", options->time,
                      "milliseconds since 1970: the first offset at or after it");
  add_client_options(*command, cli);
  command->callback([&cli, options] { offsets(cli, *options); });
}

}  // namespace odradek::app
