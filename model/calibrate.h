/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What was published of the router, as far as it serves to fit what nobody measured: seven figures,
 * for seven parameters. The numbers are those of the list of results by which they were chosen.
 * Everything else that was published is for judging the model, and is not known here.
 */
#ifndef P2PNIC_MODEL_CALIBRATE_H
#define P2PNIC_MODEL_CALIBRATE_H

#include "model/machine.h"

struct calibration {
	unsigned number;
	const char *what;
	bool ratio;         /* in millionths; else packets a second */
	uint64_t published; /* so many */
	unsigned within;    /* millionths: the model must be this near */
	const char *fits;   /* the parameter that it decides, when those above are decided */
};

#define CALIBRATIONS 7u
extern const struct calibration calibration[CALIBRATIONS];

/* What the model says to number `index`. 0, or -EINVAL with the reason. */
int calibration_measure(
	unsigned index, const struct parameters *, uint64_t *measured, struct error *error);

/* Sets the parameter that number `index` decides, so that the model says what was published. */
int calibrate_one(unsigned index, struct parameters *, uint64_t *measured, struct error *error);

/* Fits all, in the order above, and sets the parameters; twice, as some have a little influence on
 * those above. `say` is told of each (NULL: nobody). 0, or -errno with the reason. */
int calibrate(struct parameters *,
	void (*say)(const struct calibration *, uint64_t measured, const struct parameter *),
	struct error *error);

#endif
