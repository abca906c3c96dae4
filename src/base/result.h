// Result<T>: a value, or an Error that says what happened in one line for a person.
#pragma once

#include <expected>
#include <string>
#include <utility>

namespace odradek {

/// What kind of thing went wrong, as far as a caller decides by it.
enum class Errc {
  kIo,           // the operating system refused; the message has its reason
  kNotFound,     // no such file, host, entry
  kExists,       // it is there already
  kCorrupt,      // bytes that do not follow their format
  kInvalid,      // an argument or a configuration value out of range
  kUnsupported,  // a version or feature we do not serve
  kClosed,       // the peer, or we ourselves, closed it
  kLimit,        // a configured limit was reached
  kNoSpace,      // the disk is full
};

struct Error {
  Errc kind;
  std::string message;

  bool operator==(const Error&) const = default;
};

template <class T>
using Result = std::expected<T, Error>;

inline std::unexpected<Error> fail(Errc kind, std::string message) {
  return std::unexpected(Error{kind, std::move(message)});
}

}  // namespace odradek
