// DirectoryFile: a directory in a list of files to sync: its `sync` makes names durable.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "io/io.h"

namespace odradek::log {

class DirectoryFile : public io::File {
 public:
  DirectoryFile(io::Disk& disk, std::string path) : disk_(disk), path_(std::move(path)) {}

  const std::string& path() const override { return path_; }
  /// A directory that is gone, or has another name now, has been removed or set aside with its
  /// partition meanwhile: nobody waits for its names.
  Result<void> sync() override {
    auto r = disk_.sync_directory(path_);
    if (!r && r.error().kind == Errc::kNotFound) return {};
    return r;
  }

  Result<size_t> read(uint64_t, MutableBytes) override { return refuse(); }
  Result<void> write(uint64_t, std::span<const ByteView>) override { return refuse(); }
  Result<uint64_t> size() override { return refuse(); }
  Result<void> truncate(uint64_t) override { return refuse(); }

 private:
  std::unexpected<Error> refuse() { return fail(Errc::kInvalid, path_ + ": is a directory"); }

  io::Disk& disk_;
  std::string path_;
};

/// The folder that holds `path`.
inline std::string parent_folder(const std::string& path) {
  size_t slash = path.find_last_of('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace odradek::log
