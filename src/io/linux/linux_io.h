// LinuxIo: the seam over the real system. Loops are threads with Boost.Asio's epoll reactor; files
// are plain calls; each sync queue is a thread, and two threads do background work. Threads start
// when they are first needed.
//
//   io::LinuxIo io({.loops = 2});
//   io.on_signal([&](int) { node.stop([&] { io.stop(); }); });
//   io.run();   // loop 0 is the calling thread
//
// Destroy what uses it before it. An idle loop does not wake up.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "io/io.h"
#include "io/linux/linux_disk.h"

namespace odradek::io {

class LinuxLoop;
class WorkerPool;

struct LinuxOptions {
  int loops = 1;
  size_t max_open_files = 0;  // see LinuxDisk
  int file_threads = 2;       // at most, for Io::background
  bool io_uring = true;       // where the system allows it
  int listen_backlog = 512;
  // Of accepted connections (SO_SNDBUF, SO_RCVBUF); −1: the system chooses.
  int send_buffer = -1;
  int receive_buffer = -1;
};

/// What the operating system did to us; for metrics. Any thread may read.
struct LinuxCounters {
  std::atomic<uint64_t> accepted{0};
  std::atomic<uint64_t> accept_pauses{0};  // out of descriptors or memory; retried after 100 ms
  std::atomic<uint64_t> short_files{0};    // connections closed because a file was cut under them
  std::atomic<uint64_t> sendfile_bytes{0};
};

/// Can small synced appends go by io_uring? Else why not: containers often forbid it.
Result<void> io_uring_available();

class LinuxIo : public Io {
 public:
  /// Raises the descriptor limit and ignores SIGPIPE.
  explicit LinuxIo(LinuxOptions options);
  ~LinuxIo() override;

  /// Runs all loops until `stop`. Loop 0 runs on the calling thread.
  void run();
  /// Ends `run`. From any thread. What is queued on the loops may or may not run.
  void stop();
  /// SIGTERM and SIGINT call this on loop 0 from now on, instead of ending the process. Call before
  /// `run`, once.
  void on_signal(std::move_only_function<void(int signal)> callback);

  LinuxDisk& disk() override { return disk_; }
  int loop_count() const override { return static_cast<int>(loops_.size()); }
  Loop& loop(int index) override;
  std::unique_ptr<SyncQueue> make_sync_queue(const std::string& directory,
                                             std::shared_ptr<WriteAhead> ahead) override;
  void write_all(std::span<FileWrite> writes) override;
  void background(Callback work, Loop& reply_to, Callback done) override;

  const LinuxCounters& counters() const { return counters_; }
  /// How often the loops have gone from waiting to work.
  uint64_t turns() const;

 private:
  LinuxOptions options_;
  LinuxCounters counters_;
  LinuxDisk disk_;
  std::vector<std::unique_ptr<LinuxLoop>> loops_;
  std::unique_ptr<WorkerPool> workers_;
  std::unique_ptr<WorkerPool> helpers_;  // of write_all
};

}  // namespace odradek::io
