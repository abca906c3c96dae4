// Opening the logs of a directory on several file threads.
#include <algorithm>
#include <atomic>

#include "log/log_dir.h"

namespace odradek::log {

namespace {

/// Logs that one piece of work opens: most take some ten microseconds, less than a change of
/// thread.
constexpr size_t kChunk = 16;

/// Everything but `scanned` and the elements of `options` and `logs` that are being worked on is
/// used on the replying loop only.
struct Loading : std::enable_shared_from_this<Loading> {
  Loading(io::Io& io_in, io::Loop& loop_in) : io(io_in), loop(loop_in) {}

  io::Io& io;
  io::Loop& loop;
  std::vector<LogOptions> options;
  LoadedLogs logs;
  std::move_only_function<void(LoadProgress)> progress;
  std::move_only_function<void(LoadedLogs)> done;
  size_t next = 0;
  size_t finished = 0;
  std::atomic<uint64_t> scanned{0};

  void start_one() {
    if (next >= options.size()) return;
    size_t from = next;
    size_t to = std::min(options.size(), from + kChunk);
    next = to;
    io.background([self = shared_from_this(), from, to] { self->work(from, to); }, loop,
                  [self = shared_from_this(), from, to] { self->finish(to - from); });
  }

  void work(size_t from, size_t to) {
    for (size_t n = from; n < to; n++) {
      uint64_t told = 0;
      options[n].progress = [this, told](uint64_t bytes, uint64_t) mutable {
        scanned.fetch_add(bytes - told, std::memory_order_relaxed);
        told = bytes;
      };
      logs[n] = Log::open(std::move(options[n]));
    }
  }

  void finish(size_t count) {
    finished += count;
    if (progress) {
      progress(LoadProgress{.logs_done = finished,
                            .logs_total = logs.size(),
                            .bytes_scanned = scanned.load(std::memory_order_relaxed)});
    }
    if (finished == logs.size()) {
      done(std::move(logs));
      return;
    }
    start_one();
  }
};

}  // namespace

void load_logs(io::Io& io, io::Loop& reply_to, std::vector<LogOptions> options, int parallel,
               std::move_only_function<void(LoadProgress)> progress,
               std::move_only_function<void(LoadedLogs)> done) {
  auto loading = std::make_shared<Loading>(io, reply_to);
  for (size_t n = 0; n < options.size(); n++) {
    loading->logs.push_back(fail(Errc::kInvalid, "not opened"));
  }
  loading->options = std::move(options);
  loading->progress = std::move(progress);
  loading->done = std::move(done);
  if (loading->logs.empty()) {
    reply_to.post([loading] { loading->done({}); });
    return;
  }
  for (int n = 0; n < std::max(1, parallel); n++) loading->start_one();
}

}  // namespace odradek::log
