// WriteRing: a write past the page cache that is durable when it is over, without a thread that
// waits for it: io_uring carries it out, and a loop hears of it. One at a time. Private to
// io/linux.
//
// On a virtual machine a 4 KiB write and its sync took 17 µs of the process's CPU this way, and 45
// by way of a thread that is woken for it.
#pragma once

#define BOOST_ASIO_NO_DEPRECATED
#include <liburing.h>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <functional>
#include <memory>
#include <optional>

#include "io/io.h"
#include "io/linux/linux_file.h"

namespace odradek::io {

class LinuxLoop;

class WriteRing : public std::enable_shared_from_this<WriteRing> {
 public:
  /// How many bytes have been written and are durable; below zero, an errno.
  using Done = std::move_only_function<void(int result)>;

  /// Null: the system has no io_uring, or does not allow it (containers often do not).
  /// `done` is called on `loop` after each write.
  static std::shared_ptr<WriteRing> make(LinuxLoop& loop, Done done);
  WriteRing(LinuxLoop& loop, Done done);
  ~WriteRing();

  /// On the loop. False: not this file, or not now; nothing has been written.
  bool start(const AheadWrite& write);
  /// Nothing is called any more. Blocks until a write that is under way is over and returns its
  /// result; none: there is none. On the loop, or while it does not run.
  std::optional<int> detach();

 private:
  void await();
  void hear();

  LinuxLoop& loop_;
  Done done_;
  io_uring ring_{};
  bool open_ = false;
  boost::asio::posix::stream_descriptor ready_;
  std::optional<LinuxFile::Use> writing_;
};

}  // namespace odradek::io
