// The error codes that travel in answers, generated from schemas/errors.txt.
#pragma once

#include <iterator>

#include "wire/gen/error_codes.h"

namespace odradek::wire {

namespace detail {
/// The row of a code; that of UNKNOWN_SERVER_ERROR for codes that we do not know.
constexpr const ErrorInfo& error_info(ErrorCode code) {
  const int index = static_cast<int>(code) + 1;
  return kErrors[index >= 0 && index < static_cast<int>(std::size(kErrors)) ? index : 0];
}
}  // namespace detail

/// "OFFSET_OUT_OF_RANGE".
constexpr std::string_view name(ErrorCode code) { return detail::error_info(code).name; }
/// Whether a client may repeat the request unchanged.
constexpr bool retriable(ErrorCode code) { return detail::error_info(code).retriable; }
/// One sentence for a person.
constexpr std::string_view message(ErrorCode code) { return detail::error_info(code).message; }

/// As the int16 field that it travels in.
constexpr int16_t wire_value(ErrorCode code) { return static_cast<int16_t>(code); }

static_assert(name(ErrorCode::kUnknownServerError) == "UNKNOWN_SERVER_ERROR");
static_assert(name(ErrorCode::kShareSessionLimitReached) == "SHARE_SESSION_LIMIT_REACHED");

}  // namespace odradek::wire
