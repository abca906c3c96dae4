// Opening the logs of a directory on several file threads.
#include <algorithm>
#include <atomic>

#include "log/log_dir.h"

namespace odradek::log {

namespace {

/// Each thread takes the next log until there is none: logs differ in size by orders of magnitude.
struct Loading {
  std::vector<LogOptions> options;
  LoadedLogs logs;
  std::function<void()> opened;
  std::move_only_function<void(LoadedLogs)> done;
  std::atomic<size_t> next{0};
  int at_work = 0;  // on the replying loop

  void work() {
    for (size_t n; (n = next.fetch_add(1, std::memory_order_relaxed)) < options.size();) {
      logs[n] = Log::open(std::move(options[n]));
      if (opened) opened();
    }
  }
};

}  // namespace

void load_logs(io::Io& io, io::Loop& reply_to, std::vector<LogOptions> options, int parallel,
               std::function<void()> opened, std::move_only_function<void(LoadedLogs)> done) {
  auto loading = std::make_shared<Loading>();
  for (size_t n = 0; n < options.size(); n++) {
    loading->logs.push_back(fail(Errc::kInvalid, "not opened"));
  }
  const auto wanted = static_cast<size_t>(std::max(1, parallel));
  loading->at_work = static_cast<int>(std::clamp<size_t>(options.size(), 1, wanted));
  loading->options = std::move(options);
  loading->opened = std::move(opened);
  loading->done = std::move(done);
  for (int n = loading->at_work; n > 0; n--) {
    io.background([loading] { loading->work(); }, reply_to,
                  [loading] {
                    if (--loading->at_work == 0) loading->done(std::move(loading->logs));
                  });
  }
}

}  // namespace odradek::log
