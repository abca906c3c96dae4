#include "io/linux/linux_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <vector>

#include "base/check.h"
#include "io/linux/errors.h"

namespace odradek::io {
namespace {

constexpr size_t kPiecesPerCall = 64;

template <class F>
auto retry_eintr(F call) {
  for (;;) {
    auto r = call();
    if (r >= 0 || errno != EINTR) return r;
  }
}

/// A descriptor, or −1 and errno.
int open_descriptor(const std::string& path, OpenMode mode, int extra_flags) {
  const int flags = (mode == OpenMode::kRead ? O_RDONLY : O_RDWR) | O_CLOEXEC | extra_flags;
  const auto open = [&](int more) {
    return retry_eintr([&] { return ::open(path.c_str(), flags | more, 0644); });
  };
  if (mode != OpenMode::kCreateDirect) return open(0);
  const int fd = open(O_DIRECT);
  return fd < 0 && errno == EINVAL ? open(0) : fd;
}

bool is_direct(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  return flags >= 0 && (flags & O_DIRECT) != 0;
}

/// True if it was past the page cache that writes went, which they no longer do.
bool no_longer_direct(int fd) {
  return is_direct(fd) && ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) & ~O_DIRECT) == 0;
}

}  // namespace

// ------------------------------------------------------------------------------------------------
// DescriptorTable

Result<std::shared_ptr<LinuxFile>> DescriptorTable::open(const std::string& path, OpenMode mode) {
  // Before the lock: if it fails, its destructor takes the lock itself.
  auto file = std::make_shared<LinuxFile>(shared_from_this(), path, mode);
  const bool made = mode == OpenMode::kCreate || mode == OpenMode::kCreateDirect;
  const int create = made ? O_CREAT : 0;
  std::shared_lock names(names_);
  // The system call without the table's lock: loops that create many files at once meet there.
  struct stat st{};
  int fd = open_descriptor(path, mode, create);
  const bool too_many = fd < 0 && (errno == EMFILE || errno == ENFILE);
  int error = fd >= 0 ? (::fstat(fd, &st) != 0 ? errno : 0) : too_many ? 0 : errno;
  Lock lock(mutex_);
  if (error == 0 && fd >= 0) {
    shrink(limit_ - 1);
    error = take(*file, fd, st);
  } else if (too_many) {
    error = attach(*file, create);
  } else if (fd >= 0) {
    ::close(fd);
  }
  if (error != 0) return os_error(error, path);
  enter(*file);
  return file;
}

int DescriptorTable::attach(LinuxFile& file, int extra_flags) {
  shrink(limit_ - 1);
  int fd = open_descriptor(file.current_path(), file.mode_, extra_flags);
  if (fd < 0 && (errno == EMFILE || errno == ENFILE)) {
    shrink(open_.size() / 2);
    fd = open_descriptor(file.current_path(), file.mode_, extra_flags);
  }
  if (fd < 0) return errno;
  struct stat st{};
  if (::fstat(fd, &st) != 0) {
    const int error = errno;
    ::close(fd);
    return error;
  }
  return take(file, fd, st);
}

int DescriptorTable::take(LinuxFile& file, int fd, const struct stat& st) {
  int error = S_ISDIR(st.st_mode) ? EISDIR : 0;
  const bool first = file.inode_ == 0;
  // Somebody else replaced it under its name: what this file stood for is gone.
  if (!first && (st.st_ino != file.inode_ || st.st_dev != file.device_)) error = ESTALE;
  if (error != 0) {
    ::close(fd);
    return error;
  }
  if (first) {
    file.device_ = st.st_dev;
    file.inode_ = st.st_ino;
  }
  file.fd_ = fd;
  if (file.mode_ == OpenMode::kCreateDirect) file.direct_ = is_direct(fd);
  file.place_ = open_.insert(open_.end(), &file);
  open_count_.store(open_.size(), std::memory_order_relaxed);
  if (!first) reopened_.fetch_add(1, std::memory_order_relaxed);
  file.recent_.store(true, std::memory_order_relaxed);
  file.pins_.store(0, std::memory_order_release);
  return 0;
}

void DescriptorTable::shrink(size_t most) {
  // Two rounds of the clock: the first takes the recent marks away.
  size_t steps = 2 * open_.size();
  while (open_.size() > most && steps-- > 0) {
    LinuxFile& file = *open_.front();
    open_.splice(open_.end(), open_, open_.begin());
    if (file.stays_ || file.recent_.exchange(false, std::memory_order_relaxed)) continue;
    int idle = 0;
    if (!file.pins_.compare_exchange_strong(idle, -1, std::memory_order_acq_rel)) continue;
    ::close(file.fd_);
    file.fd_ = -1;
    open_.erase(file.place_);
  }
  open_count_.store(open_.size(), std::memory_order_relaxed);
}

Result<void> DescriptorTable::hold(const std::string& path) {
  auto [begin, end] = by_path_.equal_range(path);
  for (auto it = begin; it != end; ++it) {
    LinuxFile& file = *it->second;
    if (file.pins_.load(std::memory_order_acquire) < 0) {
      if (int e = attach(file, 0); e != 0 && e != ENOENT && e != ESTALE) return os_error(e, path);
    }
    file.stays_ = true;
  }
  return {};
}

void DescriptorTable::enter(LinuxFile& file) { by_path_.emplace(file.current_path(), &file); }

void DescriptorTable::leave(LinuxFile& file) {
  auto [begin, end] = by_path_.equal_range(file.current_path());
  for (auto it = begin; it != end; ++it) {
    if (it->second == &file) {
      by_path_.erase(it);
      return;
    }
  }
}

void DescriptorTable::move(LinuxFile& file, std::string path) {
  leave(file);
  file.renamed_ = std::move(path);
  enter(file);
}

Result<void> DescriptorTable::rename(const std::string& from, const std::string& to) {
  std::unique_lock names(names_);
  Lock lock(mutex_);
  if (auto r = hold(to); !r) return r;
  if (::rename(from.c_str(), to.c_str()) != 0) {
    int error = errno;
    return os_error(error, fmt::format("{} to {}", from, to));
  }
  std::vector<LinuxFile*> moved;
  auto [begin, end] = by_path_.equal_range(from);
  for (auto it = begin; it != end; ++it) moved.push_back(it->second);
  std::string prefix = from + "/";
  for (auto it = by_path_.lower_bound(prefix);
       it != by_path_.end() && it->first.starts_with(prefix); ++it) {
    moved.push_back(it->second);
  }
  for (LinuxFile* file : moved) {
    if (!file->stays_) move(*file, to + file->current_path().substr(from.size()));
  }
  return {};
}

Result<void> DescriptorTable::remove(const std::string& path) {
  {
    Lock lock(mutex_);
    if (auto r = hold(path); !r) return r;
  }
  // Without the lock: freeing the blocks of a large file takes long.
  if (::unlink(path.c_str()) == 0 || errno == ENOENT) return {};
  // Linux answers EISDIR for a directory, others EPERM.
  if (errno == EISDIR || errno == EPERM) {
    if (::rmdir(path.c_str()) == 0 || errno == ENOENT) return {};
  }
  return os_error(errno, path);
}

// ------------------------------------------------------------------------------------------------
// LinuxFile

LinuxFile::~LinuxFile() {
  int fd = -1;
  {
    DescriptorTable::Lock lock(table_->mutex_);
    if (inode_ == 0) return;  // never opened
    table_->leave(*this);
    if (pins_.load(std::memory_order_acquire) >= 0) {
      ODRADEK_CHECK(pins_.load() == 0);
      fd = fd_;
      table_->open_.erase(place_);
      table_->open_count_.store(table_->open_.size(), std::memory_order_relaxed);
    }
  }
  if (fd >= 0) ::close(fd);
}

int LinuxFile::pin() {
  for (;;) {
    int pins = pins_.load(std::memory_order_relaxed);
    while (pins >= 0) {
      if (pins_.compare_exchange_weak(pins, pins + 1, std::memory_order_acq_rel)) {
        if (!recent_.load(std::memory_order_relaxed)) {
          recent_.store(true, std::memory_order_relaxed);
        }
        return fd_;
      }
    }
    DescriptorTable::Lock lock(table_->mutex_);
    if (pins_.load(std::memory_order_acquire) >= 0) continue;
    if (int e = table_->attach(*this, 0)) return -e;
  }
}

Result<size_t> LinuxFile::read(uint64_t position, MutableBytes into) {
  Use use(*this);
  if (use.fd() < 0) return os_error(-use.fd(), path_);
  size_t done = 0;
  while (done < into.size()) {
    ssize_t n = retry_eintr([&] {
      return ::pread(use.fd(), into.data() + done, into.size() - done,
                     static_cast<off_t>(position + done));
    });
    if (n < 0) return os_error(errno, path_);
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  return done;
}

Result<void> LinuxFile::write(uint64_t position, std::span<const ByteView> pieces) {
  Use use(*this);
  if (use.fd() < 0) return os_error(-use.fd(), path_);
  size_t index = 0;   // the piece to go on with
  size_t offset = 0;  // and where in it
  while (index < pieces.size()) {
    std::array<iovec, kPiecesPerCall> parts;
    int count = 0;
    for (size_t i = index; i < pieces.size() && count < static_cast<int>(kPiecesPerCall); i++) {
      ByteView rest = pieces[i].subspan(i == index ? offset : 0);
      if (rest.empty()) continue;
      parts[static_cast<size_t>(count++)] = {const_cast<uint8_t*>(rest.data()), rest.size()};
    }
    if (count == 0) break;
    off_t at = static_cast<off_t>(position);
    ssize_t n = retry_eintr([&] {
      return count == 1 ? ::pwrite(use.fd(), parts[0].iov_base, parts[0].iov_len, at)
                        : ::pwritev(use.fd(), parts.data(), count, at);
    });
    // A file system may want larger blocks than ours, or write only a part of one.
    if (n < 0 && errno == EINVAL && no_longer_direct(use.fd())) {
      direct_ = false;
      continue;
    }
    if (n < 0) return os_error(errno, path_);
    position += static_cast<uint64_t>(n);
    size_t left = static_cast<size_t>(n);
    while (index < pieces.size() && left >= pieces[index].size() - offset) {
      left -= pieces[index].size() - offset;
      index++;
      offset = 0;
    }
    offset += left;
  }
  return {};
}

Result<uint64_t> LinuxFile::size() {
  Use use(*this);
  if (use.fd() < 0) return os_error(-use.fd(), path_);
  struct stat st{};
  if (::fstat(use.fd(), &st) != 0) return os_error(errno, path_);
  return static_cast<uint64_t>(st.st_size);
}

Result<void> LinuxFile::truncate(uint64_t size) {
  Use use(*this);
  if (use.fd() < 0) return os_error(-use.fd(), path_);
  if (retry_eintr([&] { return ::ftruncate(use.fd(), static_cast<off_t>(size)); }) != 0) {
    return os_error(errno, path_);
  }
  return {};
}

Result<void> LinuxFile::write_back(uint64_t from, uint64_t to) {
  const Use use(*this);
  if (use.fd() < 0) return os_error(-use.fd(), path_);
  constexpr unsigned kAll =
      SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
  const int r = ::sync_file_range(use.fd(), static_cast<off64_t>(from),
                                  static_cast<off64_t>(to - from), kAll);
  if (r != 0 && errno != ENOSYS) return os_error(errno, path_ + ": sync_file_range");
  return {};
}

Result<void> LinuxFile::sync() {
  Use use(*this);
  if (use.fd() < 0) return os_error(-use.fd(), path_);
  // Not retried on any error: the kernel may have dropped the pages (see docs/design.md).
  if (::fdatasync(use.fd()) != 0) return os_error(errno, path_);
  return {};
}

}  // namespace odradek::io
