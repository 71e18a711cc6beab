# The ratio model (PLW paper, section 6) by mgcv: score ~ te(w, r, k = 3) + factor(b).
#
#   Rscript gam.R DATA.csv GRID.csv OUT.json [gcv|reml|ml]
#
# DATA.csv has the columns score, w, r and b (whole numbers that stand for benchmarks); GRID.csv has w, r and b. OUT.json gets the
# fit's numbers and its predictions, with standard errors, at the rows of GRID.csv. With one benchmark the factor is left out.
suppressPackageStartupMessages({
  library(mgcv)
  library(jsonlite)
})

arguments <- commandArgs(trailingOnly = TRUE)
methods <- c(gcv = "GCV.Cp", reml = "REML", ml = "ML")
method <- if (length(arguments) > 3) arguments[4] else "gcv"
read <- function(path) read.csv(path, colClasses = "numeric")
data <- read(arguments[1])
grid <- read(arguments[2])
levels <- sort(unique(data$b))
data$b <- factor(data$b, levels)
grid$b <- factor(grid$b, levels)

messages <- character(0)
formula <- if (length(levels) > 1) score ~ te(w, r, k = 3) + b else score ~ te(w, r, k = 3)
seconds <- system.time(fit <- withCallingHandlers(
  gam(formula, data = data, method = methods[[method]]),
  warning = function(w) {
    messages <<- c(messages, conditionMessage(w))
    invokeRestart("muffleWarning")
  }
))[["elapsed"]]
predicted <- predict(fit, grid, se.fit = TRUE)

write_json(list(
  edf = I(unname(fit$edf)), edf_total = sum(fit$edf), edf_surface = sum(fit$edf[grepl("te(", names(coef(fit)), fixed = TRUE)]),
  smoothing = I(unname(fit$sp)), score = unname(fit$gcv.ubre), scale = fit$sig2,
  log_likelihood = as.numeric(logLik(fit)), predictions = I(as.numeric(predicted$fit)),
  predictions_se = I(as.numeric(predicted$se.fit)), coefficients = I(unname(coef(fit))), n = nobs(fit),
  converged = isTRUE(fit$converged), messages = I(messages), seconds = seconds,
  engine = paste0("r (", R.version.string, ", mgcv ", packageVersion("mgcv"), ")")
), arguments[3], digits = NA, auto_unbox = TRUE, na = "null", null = "null")
