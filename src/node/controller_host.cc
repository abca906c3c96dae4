#include "node/controller_host.h"

#include <utility>

#include "metadata/image_records.h"
#include "raft/describe.h"
#include "wire/gen/describe_quorum.h"

namespace odradek::node {

ControllerHost::ControllerHost(io::Io& io, raft::DriverOptions driver,
                               machines::ControllerSettings settings, OnFatal on_fatal,
                               Logger logger)
    : io_(io),
      loop_(io.loop(0)),
      driver_options_(std::move(driver)),
      on_fatal_(std::move(on_fatal)),
      logger_(logger),
      host_(loop_),
      publisher_([this](std::move_only_function<void()> f) { loop_.post(std::move(f)); }),
      settings_(std::move(settings)) {}

ControllerHost::~ControllerHost() = default;

Result<void> ControllerHost::open() {
  auto driver = raft::Driver::open(driver_options_, *this);
  if (!driver) return std::unexpected(driver.error());
  driver_ = std::move(*driver);
  runtime_ = std::make_unique<Runtime>(
      *driver_, host_, [this] { return std::make_unique<machines::Controller>(settings_); },
      [this](const Error& error) { on_append_failed(error); });
  return {};
}

Result<void> ControllerHost::start() {
  runtime_->start_loading();
  return driver_->start();
}

Result<void> ControllerHost::close() {
  runtime_->close();
  return driver_->close();
}

void ControllerHost::begin_snapshot() {
  in_snapshot_ = true;
  snapshot_.clear();
}

Result<void> ControllerHost::end_snapshot(raft::SnapshotId id, WallMs last_timestamp) {
  in_snapshot_ = false;
  const Offset last = id.end - int64_t{1};
  const auto records = std::move(snapshot_);
  snapshot_ = {};
  if (auto r = loader_.snapshot(records, {last, id.epoch, last_timestamp}); !r) return r;
  for (const auto& record : records) runtime_->load(last, record);
  return {};
}

Result<void> ControllerHost::on_batch(const raft::Batch& batch) {
  std::vector<metadata::Record> records;
  records.reserve(batch.values.size());
  for (ByteView value : batch.values) {
    auto record = metadata::Record::from_value(value);
    if (!record) return std::unexpected(record.error());
    records.push_back(std::move(*record));
  }
  if (in_snapshot_) {
    for (auto& r : records) snapshot_.push_back(std::move(r));
    return {};
  }
  // The loader first: it refuses what this build cannot read, where the controller would have to
  // give up on the spot.
  if (auto r = loader_.batch(records, {batch.last, batch.epoch, batch.appended}); !r) return r;
  // What is appended while the controller is active it has replayed already.
  if (runtime_->state() == machines::RuntimeState::kLoading) {
    for (size_t i = 0; i < records.size(); i++)
      runtime_->load(batch.base + static_cast<int64_t>(i), records[i]);
  }
  return {};
}

void ControllerHost::on_leader(LeaderEpoch) { runtime_->loaded(); }

void ControllerHost::on_committed(Offset end) {
  if (auto publication = loader_.take()) publisher_.publish(std::move(*publication));
  // Answers leave after the image that shows what they promise.
  runtime_->committed(end);
}

void ControllerHost::on_snapshot_due() {
  if (loader_.in_transaction()) return;  // asked again after the next batches
  metadata::ImagePtr image = publisher_.current();
  const auto& p = image->provenance;
  if (p.offset == kNoOffset) return;
  driver_->write_snapshot(
      p.offset, p.epoch, p.appended, [image](const std::function<void(ByteView)>& sink) {
        metadata::for_each_record(*image,
                                  [&](const metadata::Record& r) { sink(as_bytes(r.to_value())); });
      });
}

void ControllerHost::on_failed(const Error& error) {
  logger_.error("the metadata log cannot go on: {}", error.message);
  on_fatal_(error);
}

// The log is as it was (a full disk, as a rule), but the controller knew records that are in no log
// and is gone. Another one reads what there is.
void ControllerHost::on_append_failed(const Error& error) {
  logger_.error("metadata could not be written: {}", error.message);
  loop_.post([this] { reload(); });
}

void ControllerHost::reload() {
  if (runtime_->state() != machines::RuntimeState::kFailed) return;
  runtime_->start_loading();
  if (auto r = load_again(); !r) return on_failed(r.error());
  runtime_->loaded();
}

Result<void> ControllerHost::load_again() {
  const auto load = [this](const raft::Batch& batch, bool snapshot) -> Result<void> {
    Offset offset = snapshot ? driver_->snapshots().back().end - int64_t{1} : batch.base;
    for (ByteView value : batch.values) {
      auto record = metadata::Record::from_value(value);
      if (!record) return std::unexpected(record.error());
      runtime_->load(offset, *record);
      if (!snapshot) offset = offset + int64_t{1};
    }
    return {};
  };
  return driver_->read_all([&](const raft::Batch& b) { return load(b, true); },
                           [&](const raft::Batch& b) { return load(b, false); });
}

void ControllerHost::submit(machines::ControllerRequest request, wire::ToController::Done done) {
  if (request.api == wire::ApiKey::kDescribeQuorum) return describe_quorum(request, done);
  runtime_->submit(machines::Controller::Command(std::move(request)),
                   [this, done = std::move(done)](Runtime::Outcome outcome) mutable {
                     Result<ByteBuffer> body =
                         outcome ? std::move(*outcome) : std::unexpected(outcome.error());
                     after_all_loops([done = std::move(done), body = std::move(body)]() mutable {
                       done(std::move(body));
                     });
                   });
}

void ControllerHost::describe_quorum(const machines::ControllerRequest& request,
                                     wire::ToController::Done& done) {
  Arena arena;
  wire::Reader reader(request.body, arena);
  wire::DescribeQuorumRequest message;
  if (auto r = message.decode(reader, request.version); !r) return done(std::unexpected(r.error()));
  const auto response =
      raft::describe_quorum(*driver_, message, request.version, loop_.clock().wall(), arena);
  wire::Writer writer;
  response.encode(writer, request.version);
  if (writer.error()) return done(std::unexpected(*writer.error()));
  done(writer.take());
}

void ControllerHost::after_all_loops(io::Callback then) {
  struct Barrier {
    int left;
    io::Callback then;
  };
  auto barrier = std::make_shared<Barrier>(io_.loop_count(), std::move(then));
  for (int i = 0; i < io_.loop_count(); i++) {
    io_.loop(i).post([home = &loop_, barrier] {
      home->post([barrier] {
        if (--barrier->left == 0) barrier->then();
      });
    });
  }
}

void LocalController::send(wire::ApiKey api, int16_t version, ByteBuffer body, Done done) {
  home_.post([this, request = machines::ControllerRequest{api, version, std::move(body)},
              done = std::move(done)]() mutable {
    host_.submit(std::move(request), [this, done = std::move(done)](Result<ByteBuffer> r) mutable {
      loop_.post([done = std::move(done), r = std::move(r)]() mutable { done(std::move(r)); });
    });
  });
}

}  // namespace odradek::node
