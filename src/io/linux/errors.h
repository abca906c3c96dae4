// errno as an Error. Private to io/linux.
#pragma once

#include <fmt/format.h>

#include <cerrno>
#include <string_view>
#include <system_error>

#include "base/result.h"

namespace odradek::io {

inline Errc errc_of(int error) {
  switch (error) {
    case ENOENT:
      return Errc::kNotFound;
    case EEXIST:
    case EADDRINUSE:
      return Errc::kExists;
    case ENOSPC:
    case EDQUOT:
      return Errc::kNoSpace;
    case ECONNRESET:
    case EPIPE:
      return Errc::kClosed;
    default:
      return Errc::kIo;
  }
}

/// "<what>: <the system's reason>".
inline std::unexpected<Error> os_error(int error, std::string_view what) {
  return fail(errc_of(error), fmt::format("{}: {}", what, std::generic_category().message(error)));
}

}  // namespace odradek::io
