#include "io/linux/write_ring.h"

#include <sys/uio.h>

#include <utility>

#include "io/linux/errors.h"
#include "io/linux/linux_loop.h"

namespace odradek::io {

Result<void> io_uring_available() {
  io_uring ring{};
  if (const int r = ::io_uring_queue_init(1, &ring, 0); r != 0) return os_error(-r, "io_uring");
  ::io_uring_queue_exit(&ring);
  return {};
}

std::shared_ptr<WriteRing> WriteRing::make(LinuxLoop& loop, Done done) {
  auto ring = std::make_shared<WriteRing>(loop, std::move(done));
  if (::io_uring_queue_init(1, &ring->ring_, 0) != 0) return nullptr;
  ring->open_ = true;
  boost::system::error_code ec;
  ring->ready_.assign(ring->ring_.ring_fd, ec);
  return ec ? nullptr : std::move(ring);
}

WriteRing::WriteRing(LinuxLoop& loop, Done done)
    : loop_(loop), done_(std::move(done)), ready_(loop.context()) {}

WriteRing::~WriteRing() { detach(); }

bool WriteRing::start(const AheadWrite& write) {
  auto* file = dynamic_cast<LinuxFile*>(write.file.get());
  if (file == nullptr || !file->direct()) return false;
  writing_.emplace(*file);
  io_uring_sqe* entry = writing_->fd() < 0 ? nullptr : ::io_uring_get_sqe(&ring_);
  if (entry == nullptr) {
    writing_.reset();
    return false;
  }
  ::io_uring_prep_write(entry, writing_->fd(), write.bytes.data(),
                        static_cast<unsigned>(write.bytes.size()), write.position);
  entry->rw_flags = RWF_DSYNC;
  if (::io_uring_submit(&ring_) != 1) {
    // The entry is still there and must never be taken: the next one has no room.
    writing_.reset();
    return false;
  }
  await();
  return true;
}

void WriteRing::await() {
  ready_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                    [self = shared_from_this()](const boost::system::error_code& ec) {
                      if (ec) return;
                      self->loop_.turn([&self] { self->hear(); });
                    });
}

void WriteRing::hear() {
  if (!writing_) return;  // detached meanwhile
  io_uring_cqe* over = nullptr;
  if (::io_uring_peek_cqe(&ring_, &over) != 0) return await();
  const int result = over->res;
  ::io_uring_cqe_seen(&ring_, over);
  writing_.reset();
  done_(result);
}

std::optional<int> WriteRing::detach() {
  if (!open_) return std::nullopt;
  open_ = false;
  std::optional<int> result;
  io_uring_cqe* over = nullptr;
  while (writing_ && !result) {
    if (::io_uring_wait_cqe(&ring_, &over) == 0) result = over->res;
  }
  writing_.reset();
  ready_.release();
  ::io_uring_queue_exit(&ring_);
  return result;
}

}  // namespace odradek::io
