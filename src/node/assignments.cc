#include "node/assignments.h"

#include <algorithm>
#include <memory>
#include <string>

#include "wire/errors.h"
#include "wire/reader.h"
#include "wire/writer.h"

namespace odradek::node {
namespace {

using wire::ErrorCode;

constexpr size_t kEntriesMax = 2'250;  // of one request, as at Apache
constexpr Millis kBackoff{100};
constexpr int kDoublings = 7;  // 12.8 s

/// Whether asking again later may help.
bool worth_repeating(ErrorCode code) {
  return wire::retriable(code) && code != ErrorCode::kUnknownTopicId &&
         code != ErrorCode::kUnknownTopicOrPartition && code != ErrorCode::kNotLeaderOrFollower;
}

}  // namespace

Assignments::Assignments(io::Loop& loop, wire::ToController& controller, BrokerId node,
                         std::function<BrokerEpoch()> epoch, Logger logger)
    : loop_(loop),
      controller_(controller),
      node_(node),
      epoch_(std::move(epoch)),
      logger_(std::move(logger)) {}

Assignments::~Assignments() { loop_.timers().cancel(timer_); }

void Assignments::stop() { stopped_ = true; }

void Assignments::assign(const Uuid& topic, PartitionIndex index, const Uuid& directory,
                         Done done) {
  loop_.post([this, replica = Replica{topic, index}, directory, done = std::move(done)]() mutable {
    if (stopped_) return;
    Assignment& waiting = waiting_[replica];
    if (waiting.done) waiting.done(false);
    waiting = {directory, std::move(done)};
    // What the other loops post in this turn goes with it.
    if (sent_.empty() && timer_ == io::TimerId::kNone) send_later();
  });
}

void Assignments::send_later() {
  loop_.timers().cancel(timer_);
  const Millis delay =
      failures_ == 0 ? Millis(0) : Millis(kBackoff.value << std::min(failures_ - 1, kDoublings));
  timer_ = loop_.timers().start(delay, [this] {
    timer_ = io::TimerId::kNone;
    send();
  });
}

ByteBuffer Assignments::request() const {
  Arena arena;
  wire::AssignReplicasToDirsRequest body;
  body.broker_id = node_.value;
  body.broker_epoch = epoch_().value;
  std::map<Uuid, std::map<Uuid, std::vector<int32_t>>> by_directory;
  for (const auto& [replica, a] : sent_) {
    by_directory[a.directory][replica.first].push_back(replica.second.value);
  }
  for (const auto& [directory, topics] : by_directory) {
    auto& d = body.directories.add(arena);
    d.id = directory;
    for (const auto& [topic, partitions] : topics) {
      auto& t = d.topics.add(arena);
      t.topic_id = topic;
      for (const int32_t index : partitions) t.partitions.add(arena).partition_index = index;
    }
  }
  wire::Writer writer;
  body.encode(writer, 0);
  return writer.take();
}

void Assignments::send() {
  if (stopped_ || waiting_.empty() || !sent_.empty()) return;
  if (epoch_().value < 0) {  // not registered yet
    failures_++;
    return send_later();
  }
  while (!waiting_.empty() && sent_.size() < kEntriesMax) {
    sent_.insert(waiting_.extract(waiting_.begin()));
  }
  controller_.send(wire::ApiKey::kAssignReplicasToDirs, 0, request(),
                   [this](const Result<ByteBuffer>& answer) { answered(answer); });
}

void Assignments::answered(const Result<ByteBuffer>& answer) {
  if (stopped_) return;
  Arena arena;
  wire::AssignReplicasToDirsResponse response;
  std::string why;
  if (answer) {
    wire::Reader reader(*answer, arena);
    if (auto r = response.decode(reader, 0); !r) why = r.error().message;
    const auto code = static_cast<ErrorCode>(response.error_code);
    if (code != ErrorCode::kNone) why = wire::name(code);
    if (code == ErrorCode::kUnsupportedVersion) {  // metadata.version is older than directories
      while (!sent_.empty()) settle(sent_.begin()->first, true);
      why.clear();
    }
  } else {
    why = answer.error().message;
  }
  if (why.empty()) {
    failures_ = 0;
    take(response);
  } else {
    if (failures_++ == 0) logger_.warn("telling the directories of replicas: {}", why);
  }
  // What was not settled goes again, unless something newer about the same replica waits.
  for (auto& [replica, a] : sent_) {
    if (!waiting_.contains(replica)) {
      waiting_.emplace(replica, std::move(a));
    } else if (a.done) {
      a.done(false);
    }
  }
  sent_.clear();
  if (!waiting_.empty()) send_later();
}

void Assignments::take(const wire::AssignReplicasToDirsResponse& response) {
  for (const auto& directory : response.directories) {
    for (const auto& topic : directory.topics) {
      for (const auto& p : topic.partitions) {
        const auto code = static_cast<ErrorCode>(p.error_code);
        if (code != ErrorCode::kNone && worth_repeating(code)) {
          failures_++;
          continue;
        }
        settle({topic.topic_id, PartitionIndex(p.partition_index)}, code == ErrorCode::kNone);
      }
    }
  }
}

void Assignments::settle(const Replica& replica, bool accepted) {
  auto node = sent_.extract(replica);
  if (!node.empty() && node.mapped().done) node.mapped().done(accepted);
}

}  // namespace odradek::node
