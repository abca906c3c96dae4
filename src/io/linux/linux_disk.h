// LinuxDisk: io::Disk over the file system. Also usable alone, without loops (command-line tools).
#pragma once

#include <cstddef>
#include <memory>

#include "io/io.h"

namespace odradek::io {

class DescriptorTable;

class LinuxDisk : public Disk {
 public:
  /// `max_open_files`: descriptors that files may hold at a time (files themselves are not
  /// limited); 0: about half of what the process may have, at most 65,536.
  explicit LinuxDisk(size_t max_open_files = 0);
  ~LinuxDisk() override;

  Result<std::shared_ptr<File>> open(const std::string& path, OpenMode mode) override;
  Result<std::vector<DirEntry>> list(const std::string& path) override;
  bool exists(const std::string& path) override;
  Result<void> make_directory(const std::string& path) override;
  Result<void> rename(const std::string& from, const std::string& to) override;
  Result<void> remove(const std::string& path) override;
  Result<void> remove_tree(const std::string& path) override;
  Result<void> sync_directory(const std::string& path) override;
  Result<std::unique_ptr<DirLock>> lock(const std::string& path) override;
  Result<Space> space(const std::string& path) override;
  Result<WallMs> modified(const std::string& path) override;
  Result<void> set_modified(const std::string& path, WallMs time) override;

  /// For metrics.
  size_t open_descriptors() const;
  uint64_t reopened_descriptors() const;

 private:
  std::shared_ptr<DescriptorTable> table_;
};

/// Raises the process's soft limit of descriptors to its hard limit; answers the new soft limit.
uint64_t raise_descriptor_limit();

}  // namespace odradek::io
