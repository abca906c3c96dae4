#include "io/linux/linux_disk.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <set>

#include "io/linux/errors.h"
#include "io/linux/linux_file.h"

namespace odradek::io {
namespace {

constexpr uint64_t kOpenFilesMax = 65'536;
constexpr uint64_t kOpenFilesMin = 64;

size_t default_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return kOpenFilesMin;
  return std::clamp<uint64_t>(limit.rlim_cur / 2, kOpenFilesMin, kOpenFilesMax);
}

// A record lock belongs to the process and goes when the process closes any descriptor of the file.
// So a second lock in this process must be refused before the file is opened again.
using FileId = std::pair<dev_t, ino_t>;
std::mutex locked_mutex;
std::set<FileId>& locked_files() {
  static std::set<FileId> files;
  return files;
}

class LinuxLock : public DirLock {
 public:
  LinuxLock(int fd, FileId id) : fd_(fd), id_(id) {}
  ~LinuxLock() override {
    std::scoped_lock lock(locked_mutex);
    locked_files().erase(id_);
    ::close(fd_);
  }

 private:
  int fd_;
  FileId id_;
};

}  // namespace

uint64_t raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  rlimit raised{limit.rlim_max, limit.rlim_max};
  return ::setrlimit(RLIMIT_NOFILE, &raised) == 0 ? raised.rlim_cur : limit.rlim_cur;
}

LinuxDisk::LinuxDisk(size_t max_open_files)
    : table_(std::make_shared<DescriptorTable>(
          std::max<size_t>(max_open_files == 0 ? default_limit() : max_open_files, 1))) {}

LinuxDisk::~LinuxDisk() = default;

Result<std::shared_ptr<File>> LinuxDisk::open(const std::string& path, OpenMode mode) {
  return table_->open(path, mode);
}

Result<std::vector<DirEntry>> LinuxDisk::list(const std::string& path) {
  std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), ::closedir);
  if (!directory) return os_error(errno, path);
  std::vector<DirEntry> entries;
  for (;;) {
    errno = 0;
    dirent* e = ::readdir(directory.get());
    if (e == nullptr) {
      if (errno != 0) return os_error(errno, path);
      return entries;
    }
    std::string_view name = e->d_name;
    if (name == "." || name == "..") continue;
    if (e->d_type == DT_DIR) {
      entries.push_back({.name = std::string(name), .is_directory = true});
      continue;
    }
    struct stat st{};
    if (::fstatat(::dirfd(directory.get()), e->d_name, &st, 0) != 0) {
      if (errno == ENOENT) continue;  // removed meanwhile
      return os_error(errno, path + "/" + e->d_name);
    }
    bool is_directory = S_ISDIR(st.st_mode);
    entries.push_back(
        {std::string(name), is_directory, is_directory ? 0 : static_cast<uint64_t>(st.st_size)});
  }
}

bool LinuxDisk::exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

Result<void> LinuxDisk::make_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0755) == 0) return {};
  if (errno == ENOENT) {
    size_t slash = path.find_last_of('/', path.find_last_not_of('/'));
    if (slash == std::string::npos || slash == 0) return os_error(ENOENT, path);
    if (auto r = make_directory(path.substr(0, slash)); !r) return r;
    if (::mkdir(path.c_str(), 0755) == 0) return {};
  }
  int error = errno;
  struct stat st{};
  if (error == EEXIST && ::stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode)) return {};
  return os_error(error, path);
}

Result<void> LinuxDisk::rename(const std::string& from, const std::string& to) {
  return table_->rename(from, to);
}

Result<void> LinuxDisk::remove(const std::string& path) { return table_->remove(path); }

Result<void> LinuxDisk::remove_tree(const std::string& path) {
  struct stat st{};
  if (::lstat(path.c_str(), &st) != 0) {
    if (errno == ENOENT) return {};
    return os_error(errno, path);
  }
  if (S_ISDIR(st.st_mode)) {
    auto entries = list(path);
    if (!entries) return std::unexpected(entries.error());
    for (const DirEntry& e : *entries) {
      if (auto r = remove_tree(path + "/" + e.name); !r) return r;
    }
  }
  return remove(path);
}

Result<void> LinuxDisk::sync_directory(const std::string& path) {
  int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return os_error(errno, path);
  int error = ::fsync(fd) == 0 ? 0 : errno;
  ::close(fd);
  if (error != 0) return os_error(error, path);
  return {};
}

Result<std::unique_ptr<DirLock>> LinuxDisk::lock(const std::string& path) {
  std::scoped_lock lock(locked_mutex);
  struct stat st{};
  if (::stat(path.c_str(), &st) == 0 && locked_files().contains({st.st_dev, st.st_ino})) {
    return fail(Errc::kExists, fmt::format("{}: locked by this process", path));
  }
  int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return os_error(errno, path);
  struct flock whole{};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  int error = ::fcntl(fd, F_SETLK, &whole) != 0 || ::fstat(fd, &st) != 0 ? errno : 0;
  if (error != 0) {
    ::close(fd);
    if (error == EACCES || error == EAGAIN) {
      return fail(Errc::kExists, fmt::format("{}: locked by another process", path));
    }
    return os_error(error, path);
  }
  FileId id{st.st_dev, st.st_ino};
  locked_files().insert(id);
  return std::make_unique<LinuxLock>(fd, id);
}

Result<Disk::Space> LinuxDisk::space(const std::string& path) {
  struct statvfs s{};
  if (::statvfs(path.c_str(), &s) != 0) return os_error(errno, path);
  return Space{s.f_blocks * s.f_frsize, s.f_bavail * s.f_frsize};
}

Result<WallMs> LinuxDisk::modified(const std::string& path) {
  struct stat st{};
  if (::stat(path.c_str(), &st) != 0) return os_error(errno, path);
  return WallMs(int64_t{st.st_mtim.tv_sec} * 1000 + st.st_mtim.tv_nsec / 1'000'000);
}

Result<void> LinuxDisk::set_modified(const std::string& path, WallMs time) {
  const timespec t{.tv_sec = time.value / 1000, .tv_nsec = time.value % 1000 * 1'000'000};
  const timespec times[2] = {t, t};
  if (::utimensat(AT_FDCWD, path.c_str(), times, 0) != 0) return os_error(errno, path);
  return {};
}

size_t LinuxDisk::open_descriptors() const { return table_->open_count(); }
uint64_t LinuxDisk::reopened_descriptors() const { return table_->reopened(); }

}  // namespace odradek::io
